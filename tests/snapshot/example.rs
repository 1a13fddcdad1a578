//! `examples/snapshot-report` as its README tells it.

use crate::harness::{Db, Kind, Tidelock, database};
use std::path::Path;

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/snapshot-report");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

async fn load(db: &Db, name: &str) {
    let text: Vec<String> = file(name)
        .lines()
        .filter(|line| !line.starts_with("--"))
        .map(str::to_owned)
        .collect();
    let mut session = db.admin().await;
    for statement in text
        .join("\n")
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        session.exec(statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_report() {
    let (shop, reports) = tokio::join!(
        database(Kind::Postgres18, "report"),
        database(Kind::Mysql, "report")
    );
    load(&shop, "shop.sql").await;
    load(&reports, "reports.sql").await;
    // All tests share the servers, and a sync's name is one server's.
    let config = file("tidelock.toml").replace("name = \"report\"", &format!("name = \"{}\"", shop.name()));
    let mut lock = Tidelock::new(&config);
    lock.env("TIDELOCK_NODE_SHOP_URL", &shop.url());
    lock.env("TIDELOCK_NODE_REPORTS_URL", &reports.url());
    lock.ok(&["setup", "--execute"]).await;
    let words = lock.ok(&["check"]).await;
    assert!(
        words.contains("every 15m") && words.contains("an image of those on shop"),
        "{words}"
    );
    assert!(words.contains("only rows where status = 'paid'"), "{words}");
    lock.ok(&["run", "--once"]).await;
    let revenue = "SELECT name, purchases, paid FROM revenue ORDER BY name";
    let row = |cells: [&str; 3]| cells.map(|cell| Some(cell.to_owned())).to_vec();
    let [ada, cleo] = [row(["Ada", "2", "25.50"]), row(["Cleo", "1", "12.25"])];
    assert_eq!(reports.rows(revenue).await, [ada.clone(), cleo.clone()]);
    assert_eq!(
        reports
            .one("SELECT count(*) FROM stock_count WHERE article = 'mug'")
            .await,
        "2"
    );
    let change =
        "UPDATE purchase SET status = 'paid' WHERE id = 3; DELETE FROM stock_count WHERE shelf = 'B7'";
    shop.exec(change).await;
    lock.ok(&["run", "--once"]).await;
    assert_eq!(
        reports.rows(revenue).await,
        [ada, row(["Ben", "1", "99.00"]), cleo]
    );
    assert_eq!(reports.one("SELECT count(*) FROM stock_count").await, "2");
    let status = lock.ok(&["status"]).await;
    assert!(
        status.contains("image of 20") && status.contains("9 rows"),
        "{status}"
    );
    lock.ok(&["teardown", "--execute"]).await;
}
