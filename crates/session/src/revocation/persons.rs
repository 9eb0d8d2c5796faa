//! The cut-offs and blocks that a revocation lays on persons: those it names, and those whose sessions it ends.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::identity::Identity;
use futures_util::{StreamExt, stream};
use thiserror::Error;

use super::{BlockOrder, Order, Selection};
use crate::administration::SessionAdministration;
use crate::blocks::Words;
use crate::cut_off::OrderTerms;
use crate::cut_off::orders::Standing;
use crate::filter::Filter;
use crate::inner::Inner;
use crate::listing::AT_A_TIME;
use crate::live::KnownSession;
use crate::store::StoreError;
use crate::store::log::LogNumber;

impl SessionAdministration {
    /// Returns the terms that an order lays down, as of now.
    pub(super) fn terms(&self, order: &Order) -> OrderTerms {
        OrderTerms {
            at: self.0.clock.now(),
            block_for: match order.block {
                BlockOrder::LayDown(length) => Some(length).filter(|length| length.is_positive()),
                BlockOrder::Keep | BlockOrder::Lift => None,
            },
            fresh_login: order.fresh_login,
            remember_for: self.0.policies.retention().absolute,
            by: order.by.clone(),
            reason: order.reason.clone(),
        }
    }

    /// Refuses the logins under way of the one person, or from the one session at the provider, whom an order names.
    pub(super) async fn cut_off_the_named(
        &self,
        selection: &Selection,
        number: LogNumber,
        terms: &OrderTerms,
    ) -> Result<(), StoreError> {
        let cut_offs = &self.0.cut_offs;
        match selection {
            Selection::ProviderSession { issuer, sid, subject } => {
                cut_offs.set_for_provider_session(issuer, sid, subject.as_deref(), number, terms.at).await
            }
            Selection::Matching(filter) => match filter.one_person() {
                Some((issuer, subject)) => cut_offs.set_for_subject(issuer, subject, number, terms).await,
                None => Ok(()),
            },
            Selection::Handles(_) | Selection::Searched(_) => Ok(()),
        }
    }

    /// Blocks the one person whom the order names by issuer and subject, whether or not they have a session.
    pub(super) async fn block_the_named(&self, filter: &Filter, terms: &OrderTerms) -> Result<(), StoreError> {
        let (Some(block), Some((issuer, subject))) = (terms.block_for, filter.one_person()) else { return Ok(()) };
        // Nothing else is known of them.
        let person = Identity {
            idp: String::new(),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            name: None,
            preferred_username: None,
            email: None,
            email_verified: false,
            groups: Vec::new(),
        };
        self.0.blocks.lay_down(&person, &Words::of(filter), terms, block).await
    }
}

/// The persons on whom a cut-off could not be laid.
#[derive(Debug, Error)]
#[error("{error}")]
pub(crate) struct NotCutOff {
    /// Each by issuer and subject.
    pub(crate) persons: BTreeSet<(String, String)>,
    /// The store's last failure.
    pub(crate) error: StoreError,
}

impl Inner {
    /// Refuses the logins under way of the persons whose sessions end, and blocks them if that is ordered: in the words
    /// of the order, so that the same words lift it, whoever the persons are by then.
    pub(crate) async fn cut_off(
        &self,
        sessions: &[impl Borrow<KnownSession>],
        filter: Option<&Filter>,
        number: LogNumber,
        terms: &OrderTerms,
    ) -> Result<(), NotCutOff> {
        let mut persons: BTreeMap<_, (Identity, Vec<Words>)> = BTreeMap::new();
        for known in sessions.iter().map(Borrow::borrow) {
            let identity = &known.record.identity;
            let person =
                persons.entry((&identity.issuer, &identity.subject)).or_insert_with(|| (identity.clone(), Vec::new()));
            match filter {
                Some(filter) if person.1.is_empty() => person.1.push(Words::of(filter)),
                Some(_) => {}
                None => person.1.push(Words::of_session(known.handle)),
            }
        }
        let mut done = stream::iter(persons.into_values())
            .map(async |(person, words)| {
                let laid_down = self.cut_off_person(&person, &words, number, terms).await;
                laid_down.map_err(|error| ((person.issuer, person.subject), error))
            })
            .buffer_unordered(AT_A_TIME);
        let mut failed: Option<NotCutOff> = None;
        while let Some(done) = done.next().await {
            let Err((person, error)) = done else { continue };
            let mut persons = failed.map(|failed| failed.persons).unwrap_or_default();
            persons.insert(person);
            failed = Some(NotCutOff { persons, error });
        }
        failed.map_or(Ok(()), Err)
    }

    /// Lays on the person of a session that is about to end what orders under way say of them: whoever carries these out finds
    /// persons by their sessions alone. Not what one of them says, which is being carried out, and not what an order for
    /// everybody says, which holds for every login. If the orders cannot be read, those that are known count: what ends has to
    /// end.
    ///
    /// # Errors
    /// [`StoreError`] if somebody was not blocked or not asked for a fresh login, whose session has to stay for that.
    pub(crate) async fn cut_off_by_orders(
        &self,
        known: &KnownSession,
        except: Option<LogNumber>,
    ) -> Result<(), StoreError> {
        let (orders, now) = (self.orders_or_known().await, self.clock.now());
        let others = orders.all(now).filter(|order| Some(order.number) != except && !order.filter().is_empty());
        for order in others.filter(|order| order.is_about_to_end(&known.record)) {
            self.cut_off_by(known, order).await.map_err(|failed| failed.error)?;
        }
        Ok(())
    }

    /// Lays on the person of a session what an order for many says of them, while whoever carries it out is on the way. A
    /// failure counts if the session has to stay for that.
    pub(crate) async fn cut_off_by(&self, known: &KnownSession, order: &Standing) -> Result<(), NotCutOff> {
        let (filter, terms) = (order.filter(), order.terms(self.clock.now()));
        let laid_down = self.cut_off(&[known], Some(&filter), order.number, &terms).await;
        if terms.block_for.is_some()
            && let Err(error) = self.take_back_if_lifted(&known.record.identity, &filter, order).await
        {
            tracing::warn!(%error, "whether a block was lifted meanwhile cannot be found out");
        }
        if terms.block_for.is_some() || terms.fresh_login { laid_down } else { Ok(()) }
    }

    /// Takes back what an order laid on a person, if its block was lifted meanwhile: whoever lifted it looked before that.
    async fn take_back_if_lifted(
        &self,
        person: &Identity,
        filter: &Filter,
        order: &Standing,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.cut_offs.log.current_anew(now).await?.is_block_lifted(&order.order.logins, now) {
            let index = self.store.names().await?.subject(&person.issuer, &person.subject);
            self.blocks.take_back(index.as_str(), &Words::of(filter), order.order.at, now).await?;
        }
        Ok(())
    }

    async fn cut_off_person(
        &self,
        person: &Identity,
        words: &[Words],
        number: LogNumber,
        terms: &OrderTerms,
    ) -> Result<(), StoreError> {
        if let Some(block) = terms.block_for {
            for words in words {
                self.blocks.lay_down(person, words, terms, block).await?;
            }
        }
        self.cut_offs.set_for_subject(&person.issuer, &person.subject, number, terms).await
    }
}
