//! The shop's users on both sides, and the probes that time how long a row needs to the other side.
//!
//! Owns: the pace of the writers, the latency figures. A probe's clock starts when its COMMIT is acknowledged and
//! stops when a reader on the other side sees the row.
//! Fails: when the servers refuse a user's write, or a row does not arrive in time.

use super::shop;
use super::side::Side;
use crate::error::{Error, Result};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two steps of one side's users: quick for the demonstration, slow while somebody looks around.
pub(super) const BUSY: Duration = Duration::from_millis(15);
pub(super) const LEISURELY: Duration = Duration::from_secs(1);
/// Users try again what a deadlock undid; more in a row than this is no bad luck.
const TRIES_MAX: u32 = 20;
/// Probes in each direction.
const PROBES: u32 = 60;
/// How often a probe looks. Finer than the runtime's timer, hence a thread that sleeps.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// A row that needs longer than this is not slow but lost.
const ARRIVES_MAX: Duration = Duration::from_secs(15);

/// Users who write on both sides until they are stopped.
pub(super) struct Writers {
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl Writers {
    /// `first` numbers the steps, so that a second shift goes on where the first one ended.
    pub(super) async fn start(urls: &[String; 2], pause: Duration, first: u64) -> Result<Writers> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for url in urls {
            let side = Side::open(url).await?;
            tasks.spawn(write(side, pause, first, stop.clone()));
        }
        Ok(Writers { tasks, stop })
    }

    /// Lets everybody finish the step in hand.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap_or_else(|error| Err(Error::bug("write to the shop").because(error)))?;
        }
        Ok(())
    }

    /// Only ever returns because a writer failed.
    pub(super) async fn failed(&mut self) -> Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => Error::bug("write to the shop").because(error),
            Some(Ok(Ok(()))) | None => Error::bug("write to the shop").why("the writers went home"),
        }
    }
}

async fn write(mut side: Side, pause: Duration, first: u64, stop: CancellationToken) -> Result<()> {
    let mut tries = 0;
    let mut number = first;
    loop {
        match shop::step(&mut side, number).await {
            Ok(()) => {
                tries = 0;
                number += 1;
            }
            Err(error) if error.is_transient() && tries < TRIES_MAX => tries += 1,
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Probes both ways at once, spread over `during`; returns milliseconds, ascending. `last` shows the newest figure.
pub(super) async fn probe(
    urls: &[String; 2],
    during: Duration,
    last: &watch::Sender<f64>,
) -> Result<Vec<f64>> {
    let [a, b] = urls;
    let (there, back) = tokio::try_join!(
        probe_one_way(a, b, "there", during, last),
        probe_one_way(b, a, "back", during, last)
    )?;
    let mut all = [there, back].concat();
    all.sort_by(f64::total_cmp);
    Ok(all)
}

async fn probe_one_way(
    from: &str,
    to: &str,
    way: &str,
    during: Duration,
    last: &watch::Sender<f64>,
) -> Result<Vec<f64>> {
    let (mut writer, mut reader) = (Side::open(from).await?, Side::open(to).await?);
    let mut found = Vec::new();
    let begin = Instant::now();
    for number in 0..PROBES {
        let due = begin + during * number / PROBES;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
        let email = format!("probe-{way}-{number}@shop.example");
        shop::sign_up(&mut writer, &email).await?;
        let written = Instant::now();
        let look = shop::find_customer(&email);
        while reader.number(&look).await? == 0 {
            if written.elapsed() > ARRIVES_MAX {
                return Err(Error::definite("see a new row on the other side")
                    .why(format!("it did not arrive in {} s", ARRIVES_MAX.as_secs()))
                    .hint("run the demo with -v to see what the links say"));
            }
            pause().await?;
        }
        let ms = written.elapsed().as_secs_f64() * 1000.0;
        last.send_replace(ms);
        found.push(ms);
    }
    Ok(found)
}

async fn pause() -> Result<()> {
    tokio::task::spawn_blocking(|| std::thread::sleep(LOOK_EVERY))
        .await
        .map_err(|error| Error::bug("wait a moment").because(error))
}

/// The nearest-rank percentile of ascending figures, in hundredths of a millisecond.
pub(super) fn percentile(ascending: &[f64], percent: usize) -> f64 {
    let rank = (ascending.len() * percent).div_ceil(100).max(1) - 1;
    let ms = ascending.get(rank).copied().unwrap_or(0.0);
    (ms * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let figures: Vec<f64> = (1..=120).map(f64::from).collect();
        assert_eq!(percentile(&figures, 50), 60.0);
        assert_eq!(percentile(&figures, 99), 119.0);
        assert_eq!(percentile(&[1.234_5], 99), 1.23);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
