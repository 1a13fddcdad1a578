//! Who is killed in the middle of a copy, and that what was finished stays finished.
//!
//! A kill comes when a share of the chunks is done. What counts as done again: a chunk that was done before a kill and is
//! open after it, or whose rows were written by another copy or at another time; and a chunk that the program says it
//! copied twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::harness::{Rows, eventually};
use crate::scenario::{Scene, Side};

/// Percent of the chunks that are done, and who dies then.
const KILLS: [(usize, Victim); 5] = [
    (8, Victim::Tidelock),
    (25, Victim::Source),
    (40, Victim::Tidelock),
    (55, Victim::Target),
    (75, Victim::Tidelock),
];

#[derive(Clone, Copy, Debug)]
enum Victim {
    Tidelock,
    Source,
    Target,
}

struct Kill {
    victim: Victim,
    done: Rows,
    /// Until the next chunk was done.
    pause: Duration,
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

    pub(crate) async fn make_all(&mut self, scene: &mut Scene) {
        let to = self.from.other();
        for (percent, victim) in KILLS {
            let wanted = (self.chunks * percent).div_ceil(100);
            self.wait_for(scene, wanted).await;
            self.measure(scene);
            let side = match victim {
                Victim::Tidelock => None,
                Victim::Source => Some(self.from),
                Victim::Target => Some(to),
            };
            let done = match side {
                None => {
                    scene.lock.kill9().await;
                    scene.chunks_done(to).await
                }
                Some(side) => {
                    let done = scene.chunks_done(to).await;
                    let db = scene.db_mut(side);
                    db.server().kill().await;
                    db.server().restart().await.unwrap();
                    done
                }
            };
            assert!(
                done.len() < self.chunks,
                "{victim:?} was to be killed in the middle"
            );
            let begun = Instant::now();
            if side.is_none() {
                scene.run().await;
            }
            self.wait_for(scene, done.len() + 1).await;
            let pause = begun.elapsed();
            let kill = Kill { victim, done, pause };
            assert_eq!(
                again(&kill, &scene.chunks_done(to).await),
                0,
                "chunks done again after {victim:?} was killed"
            );
            self.made.push(kill);
        }
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

    fn measure(&mut self, scene: &Scene) {
        self.peak_kib = self.peak_kib.max(scene.lock.peak_kib());
    }

    /// Panics when something was done again; prints what was killed when.
    pub(crate) async fn print(&mut self, scene: &Scene, copied: Duration) {
        self.measure(scene);
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
                "  {:?} killed at {} chunks: {again} of them done again; the next was done {:.1} s later",
                kill.victim,
                kill.done.len(),
                kill.pause.as_secs_f64()
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
