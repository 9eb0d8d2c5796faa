//! The things that wait for somebody's decision.
//!
//! Owns that each is decided once. The list never grows. Called by the handlers and the templates.

use serde::Deserialize;

const LONGEST_NAME: usize = 100;

/// A decision that somebody makes by pressing its button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    Approve,
    Reject,
}

/// A decision, and the person who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub decision: Decision,
    pub by: String,
}

/// Something to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Approval {
    pub id: &'static str,
    pub title: &'static str,
    pub detail: &'static str,
    pub asked_by: &'static str,
    pub verdict: Option<Verdict>,
}

/// The reason why nothing was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApprovalError {
    #[error("There is nothing to decide under this name.")]
    Unknown,
    #[error("Somebody has decided this already.")]
    AlreadyDecided,
}

impl Decision {
    /// Returns the start of "… by somebody".
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Approve => "Approved",
            Self::Reject => "Rejected",
        }
    }
}

/// Returns the approvals that wait at the start.
pub(super) fn sample() -> Vec<Approval> {
    let waiting = [
        ("refund-118", "Refund for LS-2042", "$56.70 to Studio Vang, three rolls damaged in transit.", "Mina Torres"),
        ("discount-31", "Discount for Café Meridian", "8 % on the yearly contract.", "Jonas Vik"),
        ("purchase-77", "Purchase of a forklift charger", "$2,150.00 for the warehouse.", "Dave Choi"),
        ("write-off-12", "Write-off of wet stock", "36 boxes after the roof leak.", "Mina Torres"),
    ];
    let undecided = |(id, title, detail, asked_by)| Approval { id, title, detail, asked_by, verdict: None };
    waiting.map(undecided).to_vec()
}

/// Decides, if that is still possible.
pub(super) fn decide(approvals: &mut [Approval], id: &str, decision: Decision, by: &str) -> Result<(), ApprovalError> {
    let approval = approvals.iter_mut().find(|approval| approval.id == id).ok_or(ApprovalError::Unknown)?;
    if approval.verdict.is_some() {
        return Err(ApprovalError::AlreadyDecided);
    }
    approval.verdict = Some(Verdict { decision, by: by.chars().take(LONGEST_NAME).collect() });
    Ok(())
}
