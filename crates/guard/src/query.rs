//! A query or form body, read strictly: a parameter that stands twice is refused, not guessed at (R-B05).

use std::collections::HashMap;
use std::fmt;

use thiserror::Error;
use url::form_urlencoded;

/// A parameter stands more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a parameter stands more than once")]
pub struct Repeated;

/// The parameters of a query or form, each at most once.
#[derive(Default)]
pub struct Parameters(HashMap<String, String>);

impl fmt::Debug for Parameters {
    /// Codes and tokens are among them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parameters").finish_non_exhaustive()
    }
}

impl Parameters {
    /// Reads them.
    ///
    /// # Errors
    /// [`Repeated`].
    pub fn read(encoded: &str) -> Result<Self, Repeated> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded.as_bytes()) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Repeated);
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        assert_eq!(Parameters::read("a=1&b=%2F").unwrap().get("b"), Some("/"));
        assert!(Parameters::read("a=1&a=1").is_err());
        assert!(Parameters::read("code=a&c%6fde=b").is_err());
    }
}
