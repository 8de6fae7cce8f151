//! Certificates and hashes, made by programs that are not ours: OpenSSL, and Perl's `crypt`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use e2e::process;
use tempfile::TempDir;

/// A folder with an authority and what it has signed.
pub struct Pki {
    dir: TempDir,
}

/// A certificate to be made.
pub struct Leaf<'a> {
    /// The name of its files, `NAME.pem` and `NAME.key`.
    pub name: &'a str,
    /// Its alternative names, as OpenSSL writes them.
    pub alternative_names: &'a str,
    /// Days from now on which it is valid; -1 is one that has expired.
    pub days: i32,
}

/// The server's alternative names: the addresses of this process.
pub fn server_names() -> Result<String> {
    Ok(format!("DNS:localhost,IP:{}", process::free_address()?.ip()))
}

impl Pki {
    /// An authority `ca`, a certificate `server` for this host, and one for a client that is called `client`.
    pub fn new() -> Result<Self> {
        let pki = Self { dir: tempfile::Builder::new().prefix("accelscope-pki-").tempdir()? };
        pki.authority("ca")?;
        pki.sign("ca", &Leaf { name: "server", alternative_names: &server_names()?, days: 30 })?;
        pki.sign("ca", &Leaf { name: "client", alternative_names: "DNS:client", days: 30 })?;
        Ok(pki)
    }

    /// A file of it.
    pub fn at(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(self.folder());
        process::run(&mut command)?.success().map(drop)
    }

    /// An authority.
    pub fn authority(&self, name: &str) -> Result<()> {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ))
    }

    /// A certificate by an authority, and its key.
    pub fn sign(&self, authority: &str, leaf: &Leaf<'_>) -> Result<()> {
        let Leaf { name, alternative_names, days } = leaf;
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ))?;
        fs::write(self.at("extensions"), format!("subjectAltName={alternative_names}\n"))?;
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days {days} -extfile extensions -out {name}.pem"
        ))
    }

    /// Writes a web configuration and returns its path. `TLS` in it stands for the server's certificate.
    pub fn web_config(&self, text: &str) -> Result<String> {
        let path = self.at("web.yml");
        let tls = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
        fs::write(&path, text.replace("TLS\n", tls))?;
        Ok(path.display().to_string())
    }
}

/// The bcrypt hash of a password, of this cost.
pub fn bcrypt(password: &str, cost: u32) -> Result<String> {
    let program = format!("print crypt('{password}', '$2y${cost:02}$abcdefghijklmnopqrstuu')");
    process::run(Command::new("perl").args(["-e", &program]))?.success()
}
