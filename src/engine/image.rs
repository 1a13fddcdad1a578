//! What links that run in rounds ask of a node of either engine: images of its rows, and when the last round was.
//!
//! Owns, refuses, fails: as `engine`.

use super::{Node, Snapshot, Target};
use crate::access::SourceOptions;
use crate::error::Result;
use crate::model::round::Round;
use crate::model::schema::{Engine, TableId};
use crate::plan::Load;
use crate::plan::image::Image;
use crate::{mysql, postgres};

impl Snapshot {
    /// A reader of what is there now, which needs no log: only its moment is told.
    pub async fn image(engine: Engine, options: SourceOptions) -> Result<Snapshot> {
        Ok(match engine {
            Engine::Postgres => postgres::snapshot::Snapshot::image(&options).await?.into(),
            Engine::Mysql | Engine::Mariadb => mysql::snapshot::Snapshot::image(&options).await?.into(),
        })
    }
}

impl Target {
    /// Where the image of a table lies.
    pub fn image_place(&self, id: &TableId) -> TableId {
        match self {
            Target::Postgres(_) => postgres::sql::image::place(id),
            Target::Mysql(_) => mysql::sql::image::place(id),
        }
    }

    pub async fn make_image(&mut self, image: &Image) -> Result<()> {
        on_target!(self, target => target.make_image(image).await)
    }

    pub async fn load_image(&mut self, image: &Image, cells: &[usize], load: Load<'_>) -> Result<()> {
        on_target!(self, target => target.load_image(image, cells, load).await)
    }

    pub async fn complete_image(&mut self, image: &Image) -> Result<()> {
        on_target!(self, target => target.complete_image(image).await)
    }

    pub async fn swap(&mut self, image: &Image) -> Result<u64> {
        on_target!(self, target => target.swap(image).await)
    }

    pub async fn note_round(&mut self, link: (&str, &str), round: &Round) -> Result<()> {
        on_target!(self, target => target.note_round(link, round).await)
    }
}

impl Node {
    /// This node, as a target: the last round of a link.
    pub async fn last_round(&mut self, sync: &str, link: &str) -> Result<Option<Round>> {
        match self {
            Node::Postgres(client) => postgres::round::last(client, sync, link).await,
            Node::Mysql(conn) => mysql::round::last(conn, sync, link).await,
        }
    }

    pub async fn note_round(&mut self, link: (&str, &str), round: &Round) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::round::note(client, link, round).await,
            Node::Mysql(conn) => mysql::round::note(conn, link, round).await,
        }
    }
}
