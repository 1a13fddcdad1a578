//! Who is killed in the middle of a copy, and that what was finished stays finished.
//!
//! A kill comes when a share of the chunks is done. What counts as done again: a chunk that was done before a kill and is
//! open after it, or whose rows were written by another copy or at another time; and a chunk that the program says it
//! copied twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::harness::{Rows, eventually};
use crate::scenario::{Random, Scene, Side};

/// Percent of the chunks that are done, and who dies then. The last ones fall into the end of the copy and into what
/// users wrote meanwhile.
const KILLS: [(u64, Victim); 7] = [
    (8, Victim::Tidelock),
    (25, Victim::Source),
    (40, Victim::Tidelock),
    (55, Victim::Target),
    (75, Victim::Tidelock),
    (100, Victim::All),
    (100, Victim::Tidelock),
];
/// A kill of a storm comes so long after its place was reached.
const GUST_MS: u64 = 400;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Tidelock,
    Source,
    Target,
    /// The three at once.
    All,
}

/// The planned kills, and as many more as STORM says, at any place.
fn schedule(random: &mut Random) -> Vec<(u64, Victim, Duration)> {
    let mut all: Vec<_> = KILLS.map(|(at, victim)| (at, victim, Duration::ZERO)).into();
    let storm = std::env::var("STORM").map_or(0, |text| text.parse().expect("STORM is a number"));
    for _ in 0..storm {
        let victims = [Victim::Tidelock, Victim::Source, Victim::Target, Victim::All];
        let victim = victims[random.below(victims.len() as u64) as usize];
        all.push((
            random.below(101),
            victim,
            Duration::from_millis(random.below(GUST_MS)),
        ));
    }
    all.sort_by_key(|(at, ..)| *at);
    all
}

struct Kill {
    victim: Victim,
    done: Rows,
    /// Until the next chunk was done.
    pause: Duration,
    /// Of the process that ran until then.
    peak_kib: u64,
}

pub(crate) struct Kills {
    from: Side,
    chunks: usize,
    made: Vec<Kill>,
    peak_kib: u64,
}

impl Kills {
    /// Once the copy knows its chunks.
    pub(crate) async fn planned(scene: &Scene, from: Side) -> Self {
        let to = from.other();
        let planned = format!("tidelock.chunk WHERE sync = '{}'", scene.sync);
        eventually(LIMIT, "the copy has begun", async || {
            scene.db(to).count(&planned).await > 0
        })
        .await;
        let chunks = usize::try_from(scene.db(to).count(&planned).await).unwrap();
        Self {
            from,
            chunks,
            made: vec![],
            peak_kib: 0,
        }
    }

    pub(crate) async fn make_all(&mut self, scene: &mut Scene, random: &mut Random) {
        let schedule = schedule(random);
        // A storm leaves no time for what is planned.
        let is_calm = schedule.len() == KILLS.len();
        for (percent, victim, later) in schedule {
            let wanted = (self.chunks * percent as usize).div_ceil(100);
            self.wait_for(scene, wanted).await;
            tokio::time::sleep(later).await;
            let kill = self.make(scene, victim).await;
            let is_within = kill.done.len() < self.chunks;
            assert!(
                is_within || percent == 100 || !is_calm,
                "{victim:?} was to be killed in the middle"
            );
            self.made.push(kill);
        }
    }

    async fn make(&mut self, scene: &mut Scene, victim: Victim) -> Kill {
        let to = self.from.other();
        let peak_kib = scene.lock.peak_kib();
        self.peak_kib = self.peak_kib.max(peak_kib);
        let (tidelock, servers) = match victim {
            Victim::Tidelock => (true, vec![]),
            Victim::Source => (false, vec![self.from]),
            Victim::Target => (false, vec![to]),
            Victim::All => (true, vec![self.from, to]),
        };
        let mut done = scene.chunks_done(to).await;
        if tidelock {
            scene.lock.kill9().await;
        }
        for side in &servers {
            scene.db_mut(*side).server().kill().await;
        }
        for side in &servers {
            scene.db_mut(*side).server().restart().await.unwrap();
        }
        let begun = Instant::now();
        if tidelock {
            // What it had committed to the last.
            done = scene.chunks_done(to).await;
            scene.run().await;
        }
        self.wait_for(scene, self.chunks.min(done.len() + 1)).await;
        let kill = Kill {
            victim,
            done,
            pause: begun.elapsed(),
            peak_kib,
        };
        let again = again(&kill, &scene.chunks_done(to).await);
        assert_eq!(again, 0, "chunks done again after {victim:?} was killed");
        kill
    }

    /// Waits until all is copied.
    pub(crate) async fn copied(&mut self, scene: &mut Scene) {
        self.wait_for(scene, self.chunks).await;
    }

    async fn wait_for(&self, scene: &mut Scene, wanted: usize) {
        let to = self.from.other();
        let begun = Instant::now();
        let done = format!("tidelock.chunk WHERE sync = '{}' AND state = 'done'", scene.sync);
        while (scene.db(to).count(&done).await as usize) < wanted {
            scene.assert_running();
            assert!(begun.elapsed() < LIMIT, "waited in vain for {wanted} chunks");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Panics when something was done again; prints what was killed when.
    pub(crate) async fn print(&mut self, scene: &Scene, copied: Duration) {
        self.peak_kib = self.peak_kib.max(scene.lock.peak_kib());
        let to = self.from.other();
        let after = scene.chunks_done(to).await;
        assert_eq!(after.len(), self.chunks, "chunks of the copy");
        println!(
            "  copied in {:.0} s with {} kills, {} chunks; peak of tidelock {} MiB",
            copied.as_secs_f64(),
            self.made.len(),
            self.chunks,
            self.peak_kib >> 10
        );
        for kill in &self.made {
            let again = again(kill, &after);
            println!(
                "  {:?} killed at {} chunks, {} rows: {again} chunks of them done again; the next was done {:.1} s \
                 later (peak of tidelock till then {} MiB)",
                kill.victim,
                kill.done.len(),
                rows_of(&kill.done),
                kill.pause.as_secs_f64(),
                kill.peak_kib >> 10
            );
            assert_eq!(again, 0, "chunks done again after {:?} was killed", kill.victim);
        }
        let said = said(&scene.lock.log());
        let twice = said.iter().filter(|(_, times)| **times > 1).count();
        println!(
            "  the log tells of {} chunks copied, of {twice} more than once",
            said.len()
        );
        assert_eq!(twice, 0, "{said:?}");
    }
}

/// How many of those that were done then are not as they were.
fn again(kill: &Kill, now: &Rows) -> usize {
    kill.done.iter().filter(|chunk| !now.contains(chunk)).count()
}

fn rows_of(chunks: &Rows) -> u64 {
    let rows = chunks.iter().filter_map(|chunk| chunk[2].as_deref());
    rows.map(|rows| rows.parse::<u64>().unwrap()).sum()
}

/// How often the program said of each chunk that it had copied it. A chunk that is committed when the program dies may
/// never be told.
fn said(log: &str) -> BTreeMap<String, usize> {
    let mut said = BTreeMap::new();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    for line in lines.filter(|line| line["message"] == "chunk copied") {
        *said
            .entry(format!("{} {}", line["table"], line["chunk"]))
            .or_default() += 1;
    }
    assert!(!said.is_empty(), "the log tells of no chunk");
    said
}
