//! Where the version in a row's stamp comes from.

/// What a user's write makes of a row's version. Every source gives one bigint that only rises, so whoever compares
/// stamps need not know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum VersionSource {
    /// The writes of a row.
    #[default]
    Counter,
    /// The clock of the server that the write happens on.
    Clock,
    /// The user's own column with a date and time.
    Column(String),
    /// How far a row has come: `order` lists the values of `column`, the least first.
    Status { column: String, order: Vec<String> },
}

impl VersionSource {
    /// The user's column that it reads.
    pub fn column(&self) -> Option<&str> {
        match self {
            VersionSource::Counter | VersionSource::Clock => None,
            VersionSource::Column(column) | VersionSource::Status { column, .. } => Some(column),
        }
    }

    /// Is a moment what it compares?
    pub fn is_time(&self) -> bool {
        matches!(self, VersionSource::Clock | VersionSource::Column(_))
    }

    /// The same with the column as a node calls it.
    pub fn called(&self, name: impl FnOnce(&str) -> String) -> VersionSource {
        match self {
            VersionSource::Counter => VersionSource::Counter,
            VersionSource::Clock => VersionSource::Clock,
            VersionSource::Column(column) => VersionSource::Column(name(column)),
            VersionSource::Status { column, order } => VersionSource::Status {
                column: name(column),
                order: order.clone(),
            },
        }
    }

    /// In words, for people.
    pub fn words(&self) -> String {
        match self {
            VersionSource::Counter => "counter".to_owned(),
            VersionSource::Clock => "timestamp".to_owned(),
            VersionSource::Column(column) => format!("timestamp in {column}"),
            VersionSource::Status { column, .. } => format!("status in {column}"),
        }
    }

    /// What both sides must agree on.
    pub fn signature(&self) -> String {
        match self {
            VersionSource::Counter => "counter".to_owned(),
            VersionSource::Clock => "timestamp".to_owned(),
            VersionSource::Column(column) => format!("timestamp:{column}"),
            VersionSource::Status { column, order } => format!("status:{column}:{order:?}"),
        }
    }
}
