//! The folder of one throw-away server: data, socket, log, certificates.
//!
//! Owns: making it (from a template where making costs seconds), finding what dead owners left behind, removing it.
//! Refuses: folders that another living process owns (it holds their `owner.lock`).
//! Fails: with the output of the program that could not make the data.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::programs::{Programs, User, cache_folder};
use super::{ACCOUNT, Kind};

/// Younger folders may be in the making: they exist for a moment before they are locked.
const SWEEP_AFTER: Duration = Duration::from_secs(60);
/// A killed server's children may still write for a moment while we remove.
const REMOVE_TRIES: u32 = 50;
/// Enough of a server's log to see why it did not start.
const LOG_LINES: usize = 20;

/// `mysqld --initialize` runs it once, MariaDB at each start. It must leave no trace in the binlog.
const MYSQL_ACCOUNT: &str = "SET sql_log_bin = 0;\n\
    CREATE USER IF NOT EXISTS 'tidelock'@'%' IDENTIFIED BY 'tidelock';\n\
    GRANT ALL ON *.* TO 'tidelock'@'%' WITH GRANT OPTION;\n\
    ALTER USER root@localhost IDENTIFIED BY 'tidelock';\n";

pub(super) struct Folder {
    path: PathBuf,
    user: User,
    /// Held as long as we live; the kernel lets go of it however we die.
    _lock: File,
}

impl Folder {
    pub(super) fn create(kind: Kind, programs: &Programs) -> Result<Self> {
        let base = base_folder();
        sweep(&base);
        let (path, lock) = (0..10_000)
            .find_map(|number| {
                let path = base.join(format!("tidelock-{kind}-{}-{number}", std::process::id()));
                match fs::create_dir(&path) {
                    Ok(()) => Some(lock_new(&path).map(|lock| (path, lock))),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    Err(error) => Some(Err(error)),
                }
            })
            .context("too many folders of old servers")?
            .with_context(|| format!("make a folder in {}", base.display()))?;
        let folder = Self {
            path,
            user: programs.user,
            _lock: lock,
        };
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o700))?;
        folder.give_away(&folder.path)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the data folder. PostgreSQL makes it anew, which takes half a second and gives each server an identity
    /// of its own; the others copy a template, and take their identity at the first start.
    pub(super) fn fill(&self, programs: &Programs) -> Result<()> {
        if programs.kind.is_postgres() {
            return self.init_postgres(programs);
        }
        let account = self.path.join("account.sql");
        fs::write(&account, MYSQL_ACCOUNT)?;
        self.give_away(&account)?;
        let template = self.template(programs)?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto", "--sparse=always"])
            .arg(template)
            .arg(self.path.join("data"));
        run(&mut copy, None, &self.path, "copy the data template")
    }

    fn init_postgres(&self, programs: &Programs) -> Result<()> {
        let password = self.path.join("password");
        fs::write(&password, ACCOUNT)?;
        self.give_away(&password)?;
        let mut maker = Command::new(&programs.maker);
        maker
            .arg("-D")
            .arg(self.path.join("data"))
            .arg("--pwfile")
            .arg(&password);
        maker.args([
            "--username",
            ACCOUNT,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
        ]);
        maker.args(["--locale", "C.UTF-8", "--no-sync", "--no-instructions"]);
        if matches!(programs.kind, Kind::Postgres18 | Kind::Postgres17) {
            // Independent of the locales this machine has.
            maker.args([
                "--locale-provider",
                "builtin",
                "--builtin-locale",
                "C.UTF-8",
                "--locale",
                "C",
            ]);
        }
        run(&mut maker, self.user, &self.path, "initdb")
    }

    /// A data folder made once per server version, kept in the cache.
    fn template(&self, programs: &Programs) -> Result<PathBuf> {
        let templates = cache_folder().join("templates");
        fs::create_dir_all(&templates).with_context(|| format!("make {}", templates.display()))?;
        let name = format!("{}-{}", programs.kind, programs.stamp()?);
        let template = templates.join(&name);
        if template.exists() {
            return Ok(template);
        }
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(templates.join(".lock"))?;
        lock.lock()
            .context("wait for another process that makes the template")?;
        if template.exists() {
            return Ok(template);
        }
        let making = templates.join(format!(".{name}"));
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        fs::create_dir(&making)?;
        self.give_away(&making)?;
        self.init_mysql(programs, &making.join("data"))?;
        fs::rename(making.join("data"), &template)?;
        fs::remove_dir_all(&making)?;
        Ok(template)
    }

    fn init_mysql(&self, programs: &Programs, data: &Path) -> Result<()> {
        let mut maker = if programs.kind == Kind::Mariadb {
            let mut maker = Command::new(&programs.maker);
            maker.args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]);
            maker.args(["--basedir=/usr", "--innodb-log-file-size=64M"]);
            maker
        } else {
            let mut maker = Command::new(&programs.server[0]);
            maker
                .args(&programs.server[1..])
                .args(["--no-defaults", "--initialize-insecure"]);
            maker.args(programs.base_arguments());
            maker.arg(format!("--init-file={}", self.path.join("account.sql").display()));
            maker.args(["--secure-file-priv=NULL", "--loose-mysqlx=OFF"]);
            maker
        };
        maker.arg(format!("--datadir={}", data.display()));
        run(&mut maker, self.user, &self.path, "make the first data folder")?;
        // A server without this file gives itself a new server_uuid.
        match fs::remove_file(data.join("auto.cnf")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A certificate authority of this server's own and a certificate for the loopback address.
    pub(super) fn make_certificates(&self, programs: &Programs) -> Result<()> {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let names = self.path.join("names");
        fs::write(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1\n")?;
        self.give_away(&names)?;
        for line in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 3650 -subj /CN=tidelock-playground"),
            format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile names -out server.pem"
                .to_owned(),
        ] {
            let mut openssl = Command::new("openssl");
            openssl.args(line.split_whitespace());
            run(&mut openssl, programs.user, &self.path, "make a TLS certificate with openssl")?;
        }
        fs::set_permissions(self.path.join("server.key"), fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// A fresh log file: what it holds is about this start of the server only.
    pub(super) fn new_log(&self) -> Result<File> {
        let path = self.path.join("server.log");
        let log = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        log.with_context(|| format!("open {}", path.display()))
    }

    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(self.path.join("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn give_away(&self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.user else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid)).with_context(|| format!("give {} to user {uid}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

/// A unix socket's path has at most 107 bytes, so a long TMPDIR is not used.
fn base_folder() -> PathBuf {
    let folder = std::env::temp_dir();
    if folder.as_os_str().len() > 50 {
        PathBuf::from("/tmp")
    } else {
        folder
    }
}

fn lock_new(path: &Path) -> io::Result<File> {
    let lock = File::create(path.join("owner.lock"))?;
    lock.try_lock()?;
    Ok(lock)
}

/// Removes what processes that were killed could not remove themselves. Failing here harms nobody.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > SWEEP_AFTER));
        if !old || !entry.file_name().to_string_lossy().starts_with("tidelock-") {
            continue;
        }
        let Ok(lock) = File::open(path.join("owner.lock")) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn run(command: &mut Command, user: User, folder: &Path, doing: &str) -> Result<()> {
    command.current_dir(folder).stdin(Stdio::null());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    let output = command
        .output()
        .with_context(|| format!("{doing}: start {:?}", command.get_program()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{doing} failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}
