//! The frames of a WebSocket, as far as a proxy needs them: where one ends, and what kind it is (RFC 6455 5.2).
//!
//! Pure. A frame of ours may stand between two frames only; within one it would be a part of that.

/// Opcode of a close frame (RFC 6455 5.5.1).
const CLOSE: u8 = 0x8;
/// First opcode of control frames.
const FIRST_CONTROL: u8 = 0x8;
/// Longest payload of a control frame (RFC 6455 5.5), without the code of a close frame.
const LONGEST_REASON: usize = 123;

/// The place of one direction's bytes within its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Frames {
    part: Part,
    opcode: u8,
    has_closed: bool,
}

/// The part of a frame that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    #[default]
    Opcode,
    Length,
    /// The bytes of an extended length.
    ExtendedLength {
        left: u8,
        length: u64,
        is_masked: bool,
    },
    /// The masking key and the payload.
    Rest {
        left: u64,
    },
}

impl Part {
    fn rest(length: u64, is_masked: bool) -> Self {
        Self::Rest { left: length.saturating_add(if is_masked { 4 } else { 0 }) }
    }
}

impl Frames {
    /// Is true between two frames.
    pub(crate) fn is_between(&self) -> bool {
        self.part == Part::Opcode
    }

    /// Is true from the beginning of a close frame on: nothing follows it.
    pub(crate) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Passes bytes up to the end of a frame, and returns their number.
    pub(crate) fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(byte) = bytes.get(passed).copied() {
            let mut count = 1;
            self.part = match self.part {
                Part::Opcode => {
                    self.opcode = byte & 0x0f;
                    self.has_closed |= self.opcode == CLOSE;
                    Part::Length
                }
                Part::Length => {
                    let is_masked = byte & 0x80 != 0;
                    match byte & 0x7f {
                        126 => Part::ExtendedLength { left: 2, length: 0, is_masked },
                        127 => Part::ExtendedLength { left: 8, length: 0, is_masked },
                        length => Part::rest(length.into(), is_masked),
                    }
                }
                Part::ExtendedLength { left, length, is_masked } => {
                    let length = length << 8 | u64::from(byte);
                    match left {
                        1 => Part::rest(length, is_masked),
                        _ => Part::ExtendedLength { left: left - 1, length, is_masked },
                    }
                }
                Part::Rest { left } => {
                    count = (bytes.len() - passed).min(usize::try_from(left).unwrap_or(usize::MAX));
                    Part::Rest { left: left - count as u64 }
                }
            };
            passed += count;
            if self.part == (Part::Rest { left: 0 }) {
                self.part = Part::Opcode;
                break;
            }
        }
        passed
    }

    /// Passes bytes; is true if some of them belong to frames with data.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_data = false;
        while !bytes.is_empty() {
            let passed = self.pass_frame(bytes);
            has_data |= self.opcode < FIRST_CONTROL;
            bytes = &bytes[passed..];
        }
        has_data
    }
}

/// Returns a close frame (RFC 6455 5.5.1), masked if it is a client's (5.3). A longer reason than a frame takes is cut.
pub(crate) fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(LONGEST_REASON)];
    let payload: Vec<u8> = code.to_be_bytes().into_iter().chain(reason.iter().copied()).collect();
    // At most 125.
    let length = u8::try_from(payload.len()).unwrap_or_default();
    let mut frame = vec![0x80 | CLOSE, length];
    match mask {
        None => frame.extend(payload),
        Some(mask) => {
            frame[1] |= 0x80;
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, length: usize, is_masked: bool) -> Vec<u8> {
        let mask_bit = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask_bit | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                frame.push(mask_bit | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask_bit | 0x7f);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x88; length + if is_masked { 4 } else { 0 }]);
        frame
    }

    /// Numbers that look like chance and are the same in each run (xorshift).
    fn next(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state >> 33).unwrap()
    }

    /// A thousand connections of frames of all lengths, cut anywhere.
    #[test]
    fn the_end_of_each_frame_is_found_however_its_bytes_are_cut() {
        let lengths = [0, 1, 5, 125, 126, 127, 300, 65_535, 65_536];
        let opcodes = [0x0, 0x1, 0x2, 0x9, 0xa];
        let mut state = 0x2545_f491_4f6c_dd1d;
        for round in 0..1_000 {
            let (mut bytes, mut ends, mut has_data) = (Vec::new(), vec![0], false);
            for _ in 0..=next(&mut state) % 6 {
                let opcode = opcodes[next(&mut state) % opcodes.len()];
                has_data |= opcode < FIRST_CONTROL;
                bytes.extend(frame(
                    opcode,
                    lengths[next(&mut state) % lengths.len()],
                    next(&mut state).is_multiple_of(2),
                ));
                ends.push(bytes.len());
            }
            let (mut frames, mut at, mut seen_data) = (Frames::default(), 0, false);
            while at < bytes.len() {
                let cut = (at + 1 + next(&mut state) % if round % 2 == 0 { 4 } else { 70_000 }).min(bytes.len());
                // Short pieces are for heads: through a long payload they would take for ever.
                let cut = if round % 2 == 0 && ends.iter().all(|end| at.abs_diff(*end) > 20) {
                    ends.iter().copied().find(|end| *end > at).unwrap() - 1
                } else {
                    cut
                };
                let cut = cut.max(at + 1);
                let mut stops = frames;
                assert_eq!(
                    at + stops.pass_frame(&bytes[at..cut]),
                    ends.iter().copied().find(|end| *end > at).unwrap().min(cut)
                );
                seen_data |= frames.pass(&bytes[at..cut]);
                at = cut;
                assert_eq!(frames.is_between(), ends.contains(&at), "{at} of {ends:?}");
            }
            assert_eq!((seen_data, frames.has_closed()), (has_data, false));
            frames.pass(&frame(CLOSE, 2, true));
            assert!(frames.has_closed() && frames.is_between());
        }
    }

    #[test]
    fn a_length_beyond_all_bytes_is_no_end() {
        let mut frames = Frames::default();
        let mut bytes = vec![0x82, 0xff];
        bytes.extend([0xff; 8]);
        bytes.extend([0; 1_000]);
        assert!(frames.pass(&bytes));
        assert!(!frames.is_between());
    }

    /// RFC 6455 5.5.1, 5.7.
    #[test]
    fn a_close_frame_has_a_code_and_a_reason() {
        assert_eq!(close_frame(1001, "", None), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(close_frame(4401, "ab", None), [0x88, 4, 0x11, 0x31, b'a', b'b']);
        let mask = [1, 2, 3, 4];
        assert_eq!(close_frame(4401, "a", Some(mask)), [0x88, 0x83, 1, 2, 3, 4, 0x10, 0x33, b'a' ^ 3]);
        let longest = close_frame(1000, &"é".repeat(100), None);
        assert_eq!((longest.len(), longest[1]), (126, 124));
        let mut frames = Frames::default();
        assert!(!frames.pass(&longest));
        assert!(frames.is_between() && frames.has_closed());
    }
}
