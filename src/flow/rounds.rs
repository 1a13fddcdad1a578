//! Links that do not run all the time: an image now and then (`mode = "snapshot"`), or bursts of the log (`every`).
//!
//! Owns: waiting until a round is due, by the target's clock, so that a restart neither repeats nor forgets one; a burst's
//! end, which is where the log ended when it began; what is told of both. Between bursts nobody reads the log: the slot, or
//! the position, keeps what is to come.
//! Refuses: knowing how a round is made (`seed::image`, `link`). Fails: as they do; a round that failed is due at once.

use super::end_of_log;
use super::figures::moment;
use super::link;
use super::presence::Presence;
use super::pulse::{Conflicts, Pulse, State, now_us};
use super::spec::LinkSpec;
use crate::engine::Node;
use crate::error::Result;
use crate::model::position::Position;
use crate::model::round::Round;
use crate::model::sync::Mode;
use crate::seed;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

const SHORT: Duration = Duration::from_secs(60);

/// A link between its rounds.
pub(super) struct Rounds<'a> {
    pub(super) spec: &'a Arc<LinkSpec>,
    pub(super) pulse: &'a Arc<Pulse>,
    pub(super) presence: &'a Presence,
    pub(super) wish: &'a watch::Receiver<Option<Position>>,
    /// One round now, and no other. Of a burst: up to where.
    pub(super) once: bool,
    pub(super) goal: Option<Position>,
}

impl Rounds<'_> {
    /// Until `stop`, or with `once` for one round.
    pub(super) async fn run(&self, every: Duration, stop: &CancellationToken) -> Result<()> {
        loop {
            if !self.once {
                self.wait(every, stop).await?;
            }
            if stop.is_cancelled() {
                return Ok(());
            }
            match self.spec.mode {
                Mode::Snapshot => self.image(stop).await?,
                Mode::Transactional | Mode::Merge => self.burst(stop).await?,
            }
            if self.once || stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Until the next round is due.
    async fn wait(&self, every: Duration, stop: &CancellationToken) -> Result<()> {
        let last = self.presence.during(self.spec, self.last()).await?;
        let Some((last, left)) = last.map(|last| (last.clone(), last.left(every))) else {
            return Ok(());
        };
        if left.is_zero() {
            return Ok(());
        }
        let next = moment(last.next_us(every) / 1_000_000 * 1_000_000);
        // Of a link that rests for seconds the log would say nothing else.
        match every >= SHORT {
            true => {
                info!(event = "resting", link = %self.spec.id, %next, "the link rests until its next round")
            }
            false => {
                debug!(event = "resting", link = %self.spec.id, %next, "the link rests until its next round")
            }
        }
        self.pulse.rests(
            &last,
            now_us() + i64::try_from(left.as_micros()).unwrap_or(i64::MAX),
        );
        self.pulse.set(State::Resting, format!("next at {next}"));
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(left) => {}
        }
        self.pulse.woken();
        Ok(())
    }

    async fn last(&self) -> Result<Option<Round>> {
        let mut node = Node::connect(&self.spec.target.access, self.spec.target.engine).await?;
        let last = node.last_round(&self.spec.sync, &self.spec.id).await?;
        node.close().await;
        Ok(last)
    }

    async fn image(&self, stop: &CancellationToken) -> Result<()> {
        let round = async {
            let taken = Box::pin(seed::image::take(self.spec, stop, self.pulse)).await?;
            match taken {
                Some(taken) => taken.swap().await.map(Some),
                None => Ok(None),
            }
        };
        let round = self.presence.during(self.spec, round).await;
        if let Some((round, position)) = round.map_err(|error| error.in_sync(&self.spec.sync))? {
            self.pulse.rounded(&round);
            self.pulse
                .committed(&position, round.written(), &Conflicts::new());
        }
        Ok(())
    }

    async fn burst(&self, stop: &CancellationToken) -> Result<()> {
        let began = Instant::now();
        let goal = match &self.goal {
            Some(goal) => goal.clone(),
            None => {
                self.presence
                    .during(self.spec, end_of_log(&self.spec.source))
                    .await?
            }
        };
        let until = Some(goal.clone());
        Box::pin(link::run(
            self.spec,
            until,
            stop,
            self.pulse,
            self.presence,
            self.wish,
        ))
        .await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        let note = async {
            let (source, target) = (&self.spec.source, &self.spec.target);
            let mut node = Node::connect(&source.access, source.engine).await?;
            let read = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
            let source_us = node.clock_us().await? - read;
            node.close().await;
            let round = Round {
                began_us: 0,
                age_ms: 0,
                took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                position: goal.to_string(),
                source_us,
                tables: Vec::new(),
            };
            let mut node = Node::connect(&target.access, target.engine).await?;
            node.note_round((&self.spec.sync, &self.spec.id), &round).await?;
            node.close().await;
            Ok(round)
        };
        let round = self.presence.during(self.spec, note).await?;
        self.pulse.rounded(&round);
        Ok(())
    }
}
