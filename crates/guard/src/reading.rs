//! The paths that other servers take one path for (R-I04).
//!
//! A server behind us may decode escapes once or twice, resolve dot segments, merge slashes, read backslashes as slashes,
//! drop parameters, cut at marks, ignore what stands at the end of names, or fold letters, in any order. [`readings`]
//! applies each of these to whatever the others have made, until nothing new comes.

use super::request_target::InvalidTarget;

/// Most bytes that are read for one path: bounds the work that an unauthenticated request can cause.
const MOST_WORK: usize = 1 << 19;
/// Most readings of one path, for the same reason.
const MOST_READINGS: usize = 256;

/// One habit of servers, as a function from path to path.
type Habit = fn(&str) -> String;

const HABITS: [Habit; 10] = [
    backslashes_as_slashes,
    slashes_merged,
    dot_segments_resolved,
    parameters_dropped,
    cut_at_the_first_parameter,
    cut_at_query_and_fragment,
    session_segments_dropped,
    names_trimmed,
    letters_folded,
    foreign_letters_dropped,
];

/// Is true if every server reads a path alike, apart from case and a slash at its end. Says `false` of some that have one
/// reading, never `true` of one that has two.
pub(super) fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_open = |byte: &u8| matches!(byte, b'%' | b';' | b'\\' | b' ' | b'?' | b'#') || !byte.is_ascii();
    let is_open_pair = |pair: &[u8]| matches!(pair, b"//" | b"/." | b"./" | b"/(" | b"::" | b":$");
    !bytes.iter().any(is_open) && !bytes.windows(2).any(is_open_pair) && !path.ends_with('.')
}

/// Every path that some server takes `path` for, `path` itself first.
///
/// # Errors
/// [`InvalidTarget::Character`] if a further layer of escapes hides what no path may hold, [`InvalidTarget::Ambiguous`] if
/// there are too many.
pub(super) fn readings(path: &str) -> Result<Vec<String>, InvalidTarget> {
    let begun_anew = begun_anew(path);
    let (mut next, mut work) = (0, begun_anew.iter().map(|reading| reading.len()).sum::<usize>());
    if work > MOST_WORK {
        return Err(InvalidTarget::Ambiguous);
    }
    let mut found = vec![path.to_owned()];
    found.extend(begun_anew.into_iter().map(str::to_owned));
    while let Some(current) = found.get(next).cloned() {
        work += current.len() * (HABITS.len() + 1);
        if work > MOST_WORK || found.len() > MOST_READINGS {
            return Err(InvalidTarget::Ambiguous);
        }
        let decoded = decoded(&current)?;
        for reading in HABITS.iter().map(|habit| habit(&current)).chain([decoded]) {
            if !found.contains(&reading) {
                found.push(reading);
            }
        }
        next += 1;
    }
    Ok(found)
}

/// Decodes one layer of percent-encoding; an invalid escape stays as it is.
pub(super) fn decoded(path: &str) -> Result<String, InvalidTarget> {
    if !path.contains('%') {
        return Ok(path.to_owned());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => escaped(*high, *low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(InvalidTarget::Character);
    }
    String::from_utf8(bytes).map_err(|_| InvalidTarget::Character)
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// `/a//b` as `/b`, and `//a/b` as `/b`: to join a path that begins with a slash to a folder starts again at the root, and
/// a reference that begins with two names a host (RFC 3986 4.2).
fn begun_anew(path: &str) -> Vec<&str> {
    let last_of_a_run = path.match_indices("//").filter(|(at, _)| !path[at + 2..].starts_with('/'));
    let host = path.strip_prefix("//").map(|host| host.find('/').map_or("/", |slash| &host[slash..]));
    last_of_a_run.map(|(at, _)| &path[at + 1..]).chain(host).collect()
}

fn backslashes_as_slashes(path: &str) -> String {
    path.replace('\\', "/")
}

fn slashes_merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

/// RFC 3986 5.2.4.
fn dot_segments_resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

fn parameters_dropped(path: &str) -> String {
    each_name(path, |name| name.split(';').next().unwrap_or_default())
}

fn cut_at_the_first_parameter(path: &str) -> String {
    path.split(';').next().unwrap_or_default().to_owned()
}

fn cut_at_query_and_fragment(path: &str) -> String {
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// The path without the segments in which ASP.NET keeps sessions without cookies: `/(S(x))/a` is `/a`, also with `A(` and
/// `F(`, and several in one segment.
fn session_segments_dropped(path: &str) -> String {
    let is_session = |name: &&str| name.starts_with('(') && name.ends_with("))");
    let kept: Vec<_> = path.split('/').filter(|name| !is_session(name)).collect();
    if kept.len() > 1 { kept.join("/") } else { "/".to_owned() }
}

/// The path without what file systems ignore: blanks around a name, dots behind it, and the name of a stream in it (`::$DATA`).
fn names_trimmed(path: &str) -> String {
    each_name(path, |name| {
        let stream = [name.find("::"), name.find(":$")].into_iter().flatten().min();
        let name = name[..stream.unwrap_or(name.len())].trim();
        if matches!(name, "." | "..") { name } else { name.trim_end_matches(['.', ' ']) }
    })
}

/// Letters and marks that stand for others: those of full width, and what upper or lower case, or a narrower
/// alphabet, makes of some.
fn letters_folded(path: &str) -> String {
    let folded = |character: char| match character {
        '\u{ff01}'..='\u{ff5e}' => {
            u8::try_from(u32::from(character) - 0xfee0).map_or(character, char::from).to_ascii_lowercase()
        }
        '\u{2044}' | '\u{2215}' | '\u{29f8}' => '/',
        '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}' => '\\',
        '\u{2024}' | '\u{3002}' | '\u{fe52}' | '\u{ff61}' => '.',
        '\u{130}' | '\u{131}' => 'i',
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        blank if blank.is_whitespace() => ' ',
        other => other,
    };
    path.chars().map(folded).collect()
}

/// A name in other letters alone stays as it is.
fn foreign_letters_dropped(path: &str) -> String {
    if path.is_ascii() {
        return path.to_owned();
    }
    let names = path.split('/').map(|name| {
        let plain: String = name.chars().filter(char::is_ascii).collect();
        if plain.is_empty() { name.to_owned() } else { plain }
    });
    names.collect::<Vec<_>>().join("/")
}

fn each_name(path: &str, read: impl Fn(&str) -> &str) -> String {
    path.split('/').map(read).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One habit a line, and at the end some combinations.
    #[test]
    fn every_habit_of_servers_is_known() {
        for (path, reading) in [
            ("/a%2Fb", "/a/b"),
            ("/a%252Fb", "/a/b"),
            ("/a\\b", "/a/b"),
            ("/a//b", "/a/b"),
            ("/a//b", "/b"),
            ("//host/b", "/b"),
            ("/a/../b", "/b"),
            ("/a/./b/..", "/a/"),
            ("/../b", "/b"),
            ("/a;x=1/b", "/a/b"),
            ("/a;x=1/b", "/a"),
            ("/a%3Fb", "/a"),
            ("/a%23b", "/a"),
            ("/a%20/b", "/a/b"),
            ("/a./b", "/a/b"),
            ("/a::$DATA", "/a"),
            ("/a:$i30:$INDEX_ALLOCATION/b", "/a/b"),
            ("/%EF%BC%A1dmin", "/admin"),
            ("/a%E2%88%95b", "/a/b"),
            ("/%C5%BFecret", "/secret"),
            ("/ad%C2%ADmin", "/admin"),
            ("/x/%EF%BC%8E%EF%BC%8E/b", "/b"),
            ("/x/..%3b/b", "/b"),
            ("/(S(x))/b", "/b"),
            ("/a/(A(x)S(y))/b", "/a/b"),
            ("/x/%5c../b", "/b"),
            ("/x/.%2e%20;y%252fz/b", "/b"),
        ] {
            let found = readings(path).unwrap();
            assert!(found.iter().any(|found| found == reading), "{path} as {reading}: {found:?}");
            assert!(!is_plain(path), "{path}");
        }
    }

    /// A path that is not plain may still have one reading; a path that is plain must never have two.
    #[test]
    fn a_plain_path_has_one_reading() {
        let alphabet = ["/", ".", "a", "B", ":", "$", "~", "%", ";", "\\", "-", "2f", "|", "(", "))", "é"];
        let mut paths = vec![String::from("/")];
        for _ in 0..4 {
            paths = paths.iter().flat_map(|path| alphabet.map(|more| format!("{path}{more}"))).collect();
        }
        let mut plain = 0;
        for path in &paths {
            if is_plain(path) {
                plain += 1;
                assert_eq!(readings(path).unwrap(), [path.as_str()], "{path}");
            }
        }
        assert!(plain > 1_000, "{plain}");
    }

    #[test]
    fn the_number_of_readings_of_a_path_is_bounded() {
        for path in [format!("/{}", "%2525252525252e%2f;x/..\\".repeat(900)), format!("/{}", "a//".repeat(8_000))] {
            assert!(readings(&path).is_err(), "{}", &path[..40]);
        }
        assert_eq!(readings("/%2500"), Err(InvalidTarget::Character));
        assert_eq!(readings("/%25c0%25af"), Err(InvalidTarget::Character));
        assert!(readings("/100%25").is_ok());
    }
}
