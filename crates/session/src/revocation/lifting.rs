//! Blocks that are lifted while an order is carried out.

use time::Duration;

use super::walk::Walk;
use crate::administration::SessionAdministration;
use crate::blocks::Words;
use crate::store::StoreError;

impl SessionAdministration {
    /// Returns the block of the persons whose sessions end: that of an order that stands may be lifted while it is carried
    /// out, and be one that it took in from an earlier order in the same words.
    pub(super) async fn block_by_now(&self, walk: &Walk) -> Result<Option<Duration>, StoreError> {
        let Some(standing) = &walk.standing else {
            let is_lifted = walk.terms.block_for.is_some() && self.is_lifted(walk).await?;
            return Ok(walk.terms.block_for.filter(|_| !is_lifted));
        };
        let until = self.0.orders().await?.persons_blocked_until(standing, self.0.clock.now());
        Ok(until.map(|until| until - walk.terms.at))
    }

    /// Takes back what a batch laid down, if the block was lifted meanwhile: whoever lifted it looked before that.
    pub(super) async fn take_back_if_lifted(&self, walk: &Walk) -> Result<(), StoreError> {
        let Some(filter) = walk.selection.filter() else { return Ok(()) };
        if self.is_lifted(walk).await? {
            self.take_back_blocks(&Words::of(filter), walk.terms.at).await?;
        }
        Ok(())
    }

    /// Is true if the block of an order was lifted since. Of an order that does not stand in the log a note says that.
    async fn is_lifted(&self, walk: &Walk) -> Result<bool, StoreError> {
        match (&walk.standing, walk.selection.filter()) {
            (Some(standing), _) => {
                let now = self.0.clock.now();
                Ok(self.0.cut_offs.log.current_anew(now).await?.is_block_lifted(standing, now))
            }
            (None, Some(filter)) => self.0.blocks.is_lifted_since(&Words::of(filter), walk.terms.at).await,
            (None, None) => Ok(false),
        }
    }
}
