//! Text from outside that is shown to people: in logs, at terminals, on pages.

use std::fmt::{self, Write};

/// Text from outside, written so that it can neither break a line, nor colour a terminal, nor turn around
/// what is written after it.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longest text of a field; what is longer is cut.
        const LONGEST: usize = 1024;
        for character in self.0.chars().take(LONGEST) {
            if is_unprintable(character) || matches!(character, '"' | '\\') {
                write!(formatter, "{}", character.escape_unicode())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Is true if a character may break a line, colour a terminal or turn around what is written after it.
pub fn is_unprintable(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Is true of direction marks and other characters without a glyph of their own.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-O03
    #[test]
    fn text_from_outside_cannot_forge_a_line_or_turn_it_around() {
        let hostile = "a\r\nlevel=error \u{1b}[31m \u{202e} \"x\"";
        let printed = Printable(hostile).to_string();
        assert!(
            printed.chars().all(|character| !character.is_control() && character != '\u{202e}' && character != '"')
        );
        assert_eq!(Printable("Alice 김 <a@b>").to_string(), "Alice 김 <a@b>");
    }
}
