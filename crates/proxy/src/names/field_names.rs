//! A set of names of header fields, read from a table or a configuration, and how names are compared with it.

use http::header::HeaderName;
use smallvec::SmallVec;

use super::table::{OF_ONE_HOP, WORD_OF_THE_BROKER, WRITTEN_BY_THE_BROKER};

/// A set of names, compared by their letters and digits. Both lists are sorted; no beginning begins another.
#[derive(Debug, Clone, Default)]
pub struct FieldNames {
    whole: Vec<Box<[u8]>>,
    beginnings: Vec<Box<[u8]>>,
    /// Built-in names that cross all the same, in this very spelling.
    kept: Vec<HeaderName>,
}

/// The reason that a text is no name in a list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFieldName {
    /// Not a token (RFC 9110 5.1).
    #[error(
        "must hold names of header fields, such as X-Department, or beginnings of names, such as X-Department-*: {0}"
    )]
    NotAName(String),
    /// A field without which nothing can be forwarded.
    #[error("must not hold {0}: the broker writes it itself")]
    Needed(String),
    /// A field that only the broker may write is to be let through.
    #[error("must not let {0} through: upstreams believe it, and a client could write it")]
    Guarded(String),
}

impl FieldNames {
    /// Reads names and beginnings of names (`X-Department-*`) from a configuration. `!X-CSRF-Token` lets a name of the
    /// built-in table through, in this spelling alone.
    ///
    /// # Errors
    /// [`InvalidFieldName`], for the first that cannot be one.
    pub fn parse(texts: &[String]) -> Result<Self, InvalidFieldName> {
        let mut names = Self::default();
        for text in texts {
            if let Some(kept) = text.strip_prefix('!') {
                names.kept.push(kept_name(kept)?);
                continue;
            }
            let name = text.strip_suffix('*').unwrap_or(text);
            let folded = fold(name);
            if HeaderName::try_from(name).is_err() || name.contains('*') || folded.is_empty() {
                return Err(InvalidFieldName::NotAName(text.clone()));
            }
            let is_beginning = name.len() < text.len();
            let is_needed = |needed: &&&str| {
                let needed = fold(needed);
                needed == folded || is_beginning && needed.starts_with(&folded)
            };
            if let Some(needed) = WRITTEN_BY_THE_BROKER.iter().find(is_needed) {
                return Err(InvalidFieldName::Needed((*needed).to_owned()));
            }
            names.add(text);
        }
        Ok(names.sorted())
    }

    pub(super) fn built_in(tables: &[&[&str]]) -> Self {
        let mut names = Self::default();
        tables.iter().copied().flatten().for_each(|name| names.add(name));
        names
    }

    fn add(&mut self, name: &str) {
        match name.strip_suffix('*') {
            Some(beginning) => self.beginnings.push(fold(beginning).into_boxed_slice()),
            None => self.whole.push(fold(name).into_boxed_slice()),
        }
    }

    pub(super) fn with(mut self, more: Self) -> Self {
        self.whole.extend(more.whole);
        self.beginnings.extend(more.beginnings);
        self.kept.extend(more.kept);
        self.sorted()
    }

    fn sorted(mut self) -> Self {
        self.whole.sort_unstable();
        self.beginnings.sort_unstable();
        // A name that a shorter beginning covers stands right behind it.
        self.beginnings.dedup_by(|next, kept| next.starts_with(kept));
        self
    }

    /// All names, folded, and whether each is the beginning of many.
    pub(super) fn folded(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let whole = self.whole.iter().map(|name| (&**name, false));
        whole.chain(self.beginnings.iter().map(|name| (&**name, true)))
    }

    /// Is true if a name, which is given folded as well, is one of these.
    pub(super) fn takes(&self, name: &HeaderName, folded: &[u8]) -> bool {
        self.contains(folded) && !self.kept.contains(name)
    }

    fn contains(&self, folded: &[u8]) -> bool {
        // The only beginning that can fit is the last one that is not greater.
        let behind = self.beginnings.partition_point(|beginning| &**beginning <= folded);
        let begins = behind > 0 && folded.starts_with(&self.beginnings[behind - 1]);
        begins || self.whole.binary_search_by(|whole| (**whole).cmp(folded)).is_ok()
    }
}

/// A name that a configuration lets through.
fn kept_name(text: &str) -> Result<HeaderName, InvalidFieldName> {
    let name = HeaderName::try_from(text).ok().filter(|name| !name.as_str().contains('*'));
    let name = name.ok_or_else(|| InvalidFieldName::NotAName(format!("!{text}")))?;
    let folded = fold(text);
    let of_one_hop = OF_ONE_HOP.iter().any(|field| fold(field) == folded);
    if of_one_hop || WORD_OF_THE_BROKER.iter().any(|beginning| folded.starts_with(beginning.as_bytes())) {
        return Err(InvalidFieldName::Guarded(text.to_owned()));
    }
    Ok(name)
}

/// Folded names: most fit on the stack.
pub(super) type Folded = SmallVec<[u8; 64]>;

/// The letters and digits of a name, in lower case.
pub(super) fn fold(name: &str) -> Folded {
    let mut folded = Folded::new();
    fold_into(name, &mut folded);
    folded
}

pub(super) fn fold_into(name: &str, folded: &mut Folded) {
    folded.clear();
    folded.extend(name.bytes().filter(u8::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()));
}
