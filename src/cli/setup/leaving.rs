//! Nodes that the configuration has taken out of a sync: what `setup` does about them on the nodes that stay.
//!
//! Owns: finding them, hearing one to its end before it goes, and the proof that all others have heard the same of it. The
//! proof: each link from it had applied its log up to one end, and none has moved between a look before that end was
//! read and the last look, when nobody runs these links any more. Without it, where a mesh had several links from the
//! node, the tables of the nodes that stay are compared with each other (`resync`): one may have been told what the
//! other was not, and nobody else passes that on. The same, always, where a hub is left with one spoke: two nodes pass
//! nothing on, and what the hub was told may not have reached the other yet.
//! Refuses: taking out the hub; one node's part of it; a node that is up and still has something to say.
//! Fails: before anything is dropped, when a copy of the program does not let go; `setup` is then simply repeated.

use super::Part;
use crate::cli::{Face, render};
use crate::config::{Config, Node as Declared};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::figures::Figures;
use crate::flow::instance;
use crate::flow::spec::link_id;
use crate::model::position::Position;
use crate::model::stamp::Rank;
use crate::model::sync::{Departure, Member, Membership, Mode, Scope};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A link that runs says how far it is with each renewal of its lease, and is behind no longer than that when nobody writes.
const HEARD_MAX: Duration = Duration::from_secs(30);
/// A copy of the program looks every five seconds whether a node leaves, and then ends its links.
const LET_GO_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Somebody may write while it is listened to.
const ROUNDS_MAX: u32 = 3;

/// A node that leaves one sync.
pub(super) struct Leaving {
    sync: String,
    name: String,
    rank: Rank,
    /// While the configuration still says where it is.
    declared: Option<Arc<Declared>>,
    is_merge: bool,
    /// Those that stay have one.
    has_hub: bool,
    /// Its links into nodes that stay, by the places of those in `parts`, as they have begun.
    links: Vec<usize>,
    /// What it had told one of them may be missing at another.
    is_told_apart: bool,
    /// What it had told the hub may be missing at the other that stays, and nobody passes it on any more.
    is_passed_on: bool,
    /// An earlier setup had heard it, and did not come to its end: nobody runs its links since.
    is_marked: bool,
}

/// Those that are noted on the nodes of these parts and are not in the configuration any more.
pub(super) async fn find(
    config: &Config,
    parts: &mut [Part<'_>],
    only: Option<&str>,
) -> Result<Vec<Leaving>> {
    let mut found: Vec<Leaving> = Vec::new();
    for (place, part) in parts.iter_mut().enumerate() {
        let sync = part.spec.name.clone();
        let members = part.node.members(&sync).await?;
        let takes_part = |name: &str| part.spec.nodes.iter().any(|node| node.name == name);
        let goes = |member: &&Member| member.state != Membership::Left && !takes_part(&member.name);
        let gone: Vec<Member> = members.iter().filter(goes).cloned().collect();
        if gone.is_empty() {
            continue;
        }
        refuse_part(&sync, only)?;
        let reach = part.node.reach(&sync).await?;
        let begun: Vec<String> = reach.links.into_iter().map(|(link, _)| link).collect();
        refuse_other_links(part, &begun, &members)?;
        let me = &part.spec.nodes[part.index].name;
        for member in gone {
            let at = found
                .iter()
                .position(|known| known.sync == sync && known.name == member.name);
            let at = at.unwrap_or_else(|| {
                found.push(Leaving::of(config, part, &member));
                found.len() - 1
            });
            found[at].is_marked |= member.state == Membership::Leaving;
            if begun.contains(&link_id(&member.name, me)) {
                found[at].links.push(place);
            }
        }
    }
    for leaving in &mut found {
        leaving.is_told_apart = leaving.is_merge && leaving.links.len() > 1;
        leaving.is_passed_on = leaving.is_merge && leaving.links.len() == 1 && !leaving.has_hub;
    }
    Ok(found)
}

fn refuse_part(sync: &str, only: Option<&str>) -> Result<()> {
    match only {
        None => Ok(()),
        Some(_) => Err(Error::definite(format!("take a node out of sync {sync}"))
            .why("every node that stays has to forget it, and --node asks about one alone")
            .hint("tidelock setup --execute")
            .reason(Reason::Refused)),
    }
}

/// Nodes that stay go on over the links that they have.
fn refuse_other_links(part: &Part<'_>, begun: &[String], members: &[Member]) -> Result<()> {
    let is_member = |name: &str| members.iter().any(|member| member.name == name);
    let (spec, me) = (&part.spec, &part.spec.nodes[part.index].name);
    if begun.is_empty() {
        return Ok(());
    }
    for (source, target) in &spec.links {
        let source = &spec.nodes[*source].name;
        let link = link_id(source, me);
        if *target != part.index || begun.contains(&link) || !is_member(source) {
            continue;
        }
        let ends = |link: &String| link.split_once("->").map(|(source, _)| source.to_owned());
        let from: Vec<String> = begun.iter().filter_map(ends).collect();
        return Err(Error::definite(format!("take a node out of sync {}", spec.name))
            .node(me)
            .why(format!(
                "it has links from {} alone, and would need {link}, which has not begun: a hub, or a source, cannot be taken out",
                from.join(", ")
            ))
            .hint(
                "keep that node; to make another one the hub: `tidelock teardown --execute` with the old configuration, then \
                 `tidelock setup --execute` with the new one, and a new copy",
            )
            .reason(Reason::Refused));
    }
    Ok(())
}

impl Leaving {
    fn of(config: &Config, part: &Part<'_>, member: &Member) -> Leaving {
        Leaving {
            sync: part.spec.name.clone(),
            name: member.name.clone(),
            rank: member.rank,
            declared: config.nodes.iter().find(|node| node.name == member.name).cloned(),
            is_merge: part.spec.mode == Mode::Merge,
            has_hub: part.spec.hub.is_some(),
            links: Vec::new(),
            is_told_apart: false,
            is_passed_on: false,
            is_marked: false,
        }
    }

    fn departure(&self, part: &Part<'_>, compares: bool) -> Departure {
        Departure {
            sync: self.sync.clone(),
            node: self.name.clone(),
            link: link_id(&self.name, &part.spec.nodes[part.index].name),
            compares,
        }
    }

    fn concerns(&self, part: &Part<'_>) -> bool {
        part.spec.name == self.sync
    }

    /// What is planned for a node that stays.
    pub(super) fn planned(&self, part: &Part<'_>) -> Vec<String> {
        if !self.concerns(part) {
            return Vec::new();
        }
        let departure = self.departure(part, self.is_told_apart || self.is_passed_on);
        let mut out = vec![format!(
            "-- node {} leaves: --execute hears it to its end first, and waits until nobody runs its links; by hand: stop the \
             copies of tidelock that run",
            self.name
        )];
        out.push(part.node.leaving_sql(&departure));
        out.extend(part.node.left_sql(&departure));
        out
    }

    /// Takes it out of the nodes that stay.
    pub(super) async fn execute(&self, face: &Face, parts: &mut [Part<'_>]) -> Result<()> {
        let heard = self.heard(parts).await?;
        for part in parts.iter_mut().filter(|part| self.concerns(part)) {
            let sql = part.node.leaving_sql(&self.departure(part, false));
            let scope = part.scope();
            part.node.run_all(&scope, &[sql]).await?;
        }
        face.say(&format!("{}: waiting until nobody runs its links", self.name));
        self.let_go(parts).await?;
        let is_proven = match &heard {
            Some(seqs) => *seqs == self.seqs(parts).await?,
            None => false,
        };
        let compares = self.is_passed_on || (self.is_told_apart && !is_proven);
        for part in parts.iter_mut().filter(|part| self.concerns(part)) {
            let (scope, departure) = (part.scope(), self.departure(part, compares));
            let is_read = part.node.is_read_for(&departure).await?;
            let sql = part.node.left_sql(&departure);
            part.node.run_all(&scope, &sql).await?;
            if is_read {
                let name = &part.spec.nodes[part.index].name;
                face.say(&format!(
                    "{name}: the slot for {} is still read and stays; it keeps log until it is dropped: end its reader, then \
                     repeat setup",
                    self.name
                ));
            }
        }
        let said = match (compares, heard.is_some()) {
            (true, _) => {
                "the nodes that stay compare their tables, because one may have what it told and another may not"
            }
            (false, true) => "all that it wrote has arrived everywhere",
            (false, false) if self.is_marked => "all that it wrote had arrived",
            (false, false) => "what it had not told the others is lost",
        };
        face.say(&format!("{}: taken out of sync {}; {said}", self.name, self.sync));
        Ok(())
    }

    /// The seqs of its links at a moment when each has applied all that it had written. `None`: it cannot be listened to any more.
    async fn heard(&self, parts: &mut [Part<'_>]) -> Result<Option<Vec<i64>>> {
        if self.links.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(declared) = self.declared.as_ref().filter(|_| !self.is_marked) else {
            return Ok(None);
        };
        let connected = Node::connect(&declared.access, declared.engine).await;
        let mut node = connected.map_err(|error| {
            error.hint(format!(
                "bring it up, so that what it wrote is not lost; if it is gone for ever, take [node.{0}] out of the file too: \
                 then setup goes on without it",
                self.name
            ))
        })?;
        for _ in 0..ROUNDS_MAX {
            let before = self.seqs(parts).await?;
            let end = node.barrier().await?;
            let limit = Instant::now() + HEARD_MAX;
            while let Some(behind) = self.behind(parts, &end).await? {
                if Instant::now() > limit {
                    return Err(self.unheard(&behind));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            if before == self.seqs(parts).await? {
                return Ok(Some(before));
            }
        }
        Ok(Some(vec![-1]))
    }

    fn unheard(&self, behind: &str) -> Error {
        Error::definite(format!("take node {} out of sync {}", self.name, self.sync))
            .node(&self.name)
            .why(format!("link {behind} has not applied all that it wrote"))
            .hint(format!(
                "stop its users, keep `tidelock run` running until `tidelock status` shows no lag of {behind} (or, where none \
                 runs, `tidelock run --once` with the old configuration), and repeat setup; to give up what it wrote since, \
                 take [node.{}] out of the file too",
                self.name
            ))
            .reason(Reason::Refused)
    }

    async fn seqs(&self, parts: &mut [Part<'_>]) -> Result<Vec<i64>> {
        let mut seqs = Vec::with_capacity(self.links.len());
        for place in &self.links {
            let part = &mut parts[*place];
            let link = self.departure(part, false).link;
            let status = part.node.link_status(&self.sync, &link).await?;
            seqs.push(status.checkpoint.map_or(-1, |checkpoint| checkpoint.seq));
        }
        Ok(seqs)
    }

    /// A link that is not as far, or has something that waits.
    async fn behind(&self, parts: &mut [Part<'_>], end: &Position) -> Result<Option<String>> {
        for place in &self.links {
            let part = &mut parts[*place];
            let link = self.departure(part, false).link;
            let status = part.node.link_status(&self.sync, &link).await?;
            let figures = status.said.as_ref();
            let figures = figures.and_then(|said| serde_json::from_str::<Figures>(&said.figures).ok());
            let said: Option<Position> = figures.and_then(|figures| figures.position?.parse().ok());
            let checkpoint = status
                .checkpoint
                .as_ref()
                .map(|checkpoint| checkpoint.position.clone());
            let mut at = said.into_iter().chain(checkpoint);
            let is_whole =
                status.parked.is_empty() && status.held.is_empty() && status.out_of_sync.is_empty();
            if !is_whole || !at.any(|at| at.covers(end).unwrap_or(false)) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    /// Waits until no copy of the program has a link of the node.
    async fn let_go(&self, parts: &mut [Part<'_>]) -> Result<()> {
        let limit = Instant::now() + LET_GO_MAX;
        loop {
            let Some(holder) = self.holder(parts).await? else {
                return Ok(());
            };
            if Instant::now() > limit {
                return Err(Error::transient(format!("take node {} out of sync {}", self.name, self.sync))
                    .why(format!("{holder} does not let go of its links"))
                    .hint("stop that copy of the program, repeat setup, and start it with the new configuration"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn holder(&self, parts: &mut [Part<'_>]) -> Result<Option<String>> {
        for part in parts.iter_mut().filter(|part| part.spec.name == self.sync) {
            let departure = self.departure(part, false);
            let status = part.node.link_status(&self.sync, &departure.link).await?;
            let lease = status
                .lease
                .filter(|lease| lease.is_held() && !instance::has_ended(&lease.process));
            if let Some(lease) = lease {
                return Ok(Some(lease.holder));
            }
            if part.node.is_read_for(&departure).await? {
                return Ok(Some(format!(
                    "a reader of its slot on node {}",
                    part.spec.nodes[part.index].name
                )));
            }
        }
        Ok(None)
    }

    /// What `setup` made on the node itself goes too, where it can be reached.
    pub(super) async fn tear_down(&self, face: &Face, like: &Scope) -> Result<()> {
        let name = &self.name;
        let Some(declared) = &self.declared else {
            face.say(&format!(
                "{name}: what setup made there stays; should it come back: `tidelock teardown --node {name} --execute` with the \
                 old configuration"
            ));
            return Ok(());
        };
        let mut node = Node::connect(&declared.setup_access, declared.engine).await?;
        let scope = Scope {
            node: name.clone(),
            rank: self.rank,
            tables: Vec::new(),
            mapped: Vec::new(),
            run_user: declared.access.user.clone(),
            ..like.clone()
        };
        let statements = node.teardown(&scope).await.map_err(|error| error.node(name))?;
        for kept in statements.iter().filter(|sql| sql.trim_start().starts_with("--")) {
            face.say(&format!(
                "{name}: {}",
                render::plain(kept.trim_start_matches("-- "))
            ));
        }
        face.say(&format!("{name}: torn down"));
        Ok(())
    }

    pub(super) fn is_of(&self, sync: &str) -> bool {
        self.sync == sync
    }
}
