//! Log deduplication: what fails again and again for the same reason is said once.

use std::fmt::Display;

/// The reason of the last failure of something that is tried again and again.
#[derive(Debug, Clone, Default)]
pub struct LogOnChange(Option<String>);

impl LogOnChange {
    /// Takes note of an outcome. Returns the reason of a failure if the last time did not fail for the same; the caller
    /// logs it.
    pub fn record<T, E: Display>(&mut self, outcome: &Result<T, E>) -> Option<&str> {
        let reason = outcome.as_ref().err().map(E::to_string);
        let is_new = reason.is_some() && reason != self.0;
        self.0 = reason;
        self.0.as_deref().filter(|_| is_new)
    }

    /// Returns true if the last outcome was a failure.
    pub fn is_failing(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_until_it_changes_or_goes() {
        let mut log = LogOnChange::default();
        let mut said = |outcome: Result<(), &str>| log.record(&outcome).map(str::to_owned);
        assert_eq!(said(Ok(())), None);
        assert_eq!(said(Err("refused")).as_deref(), Some("refused"));
        assert_eq!(said(Err("refused")), None);
        assert_eq!(said(Err("wrong password")).as_deref(), Some("wrong password"));
        assert_eq!(said(Ok(())), None);
        assert_eq!(said(Err("wrong password")).as_deref(), Some("wrong password"));
        assert!(log.is_failing());
    }
}
