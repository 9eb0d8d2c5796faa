//! A cheap way to tell that a name is none of a set: by its first two letters or digits, and how many it has.

/// A letter or a digit in lower case is one of so many.
const KINDS: usize = 36;
/// The numbers of letters and digits that are told apart; longer names count as this long.
const LONGEST: usize = 63;

/// For each pair of letters or digits with which names of a set begin, the numbers of letters and digits that these have.
#[derive(Debug, Clone)]
pub(super) struct Openings(Box<[u64]>);

impl Default for Openings {
    fn default() -> Self {
        Self(vec![0; KINDS * KINDS].into_boxed_slice())
    }
}

impl Openings {
    /// Adds a name that is folded to its letters and digits, or all names that begin so.
    pub(super) fn add(&mut self, folded: &[u8], is_beginning: bool) {
        let length = folded.len().min(LONGEST);
        let lengths = if is_beginning { u64::MAX << length } else { 1 << length };
        let mut kinds = folded.iter().copied().filter_map(kind);
        match (kinds.next(), kinds.next()) {
            (Some(first), Some(second)) => self.0[first * KINDS + second] |= lengths,
            (Some(first), None) => self.0[first * KINDS..][..KINDS].iter_mut().for_each(|known| *known |= lengths),
            (None, _) => self.0.iter_mut().for_each(|known| *known |= lengths),
        }
    }

    /// Is false if a name, in any spelling, is none of those that were added.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        let mut kinds = name.bytes().filter_map(kind);
        match (kinds.next(), kinds.next()) {
            (Some(first), Some(second)) => {
                let length = name.bytes().filter(u8::is_ascii_alphanumeric).count();
                self.0[first * KINDS + second] >> length.min(LONGEST) & 1 == 1
            }
            // Too short to tell.
            _ => true,
        }
    }
}

/// The number of a letter or a digit, small or large.
fn kind(byte: u8) -> Option<usize> {
    match byte {
        b'0'..=b'9' => Some(usize::from(byte - b'0')),
        b'a'..=b'z' => Some(usize::from(byte - b'a') + 10),
        b'A'..=b'Z' => Some(usize::from(byte - b'A') + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_another_opening_or_length_is_told_apart_and_no_other_is() {
        let mut openings = Openings::default();
        let long = "w".repeat(70);
        for (name, is_beginning) in
            [("xuser", false), ("te", false), ("remotegroup", true), ("q", true), (&long, false)]
        {
            openings.add(name.as_bytes(), is_beginning);
        }
        let longer = "w".repeat(80);
        for name in [
            "x-user",
            "X--UsEr",
            "_x_u.s.e.r",
            "te",
            "t.e",
            "Remote-Groups",
            "remote-group",
            "q-z",
            "q",
            "x",
            "-",
            "",
            &longer,
        ] {
            assert!(openings.may_hold(name), "{name}");
        }
        for name in ["accept", "x-users", "x-use", "tea", "remote-user", "x-auth", "t-x", "ux", "1q", "a~q", "ww"] {
            assert!(!openings.may_hold(name), "{name}");
        }
        openings.add(b"", true);
        assert!(openings.may_hold("accept"));
    }
}
