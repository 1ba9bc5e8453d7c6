//! A new database, for the member that holds a new group's first epoch.

use std::{fs, io, path::Path};

use super::{
    error::{Error, Result},
    files,
    instance::Instance,
    tool,
};

impl Instance {
    /// Runs initdb in a directory that is absent or empty: with checksums,
    /// UTF-8, and a superuser `postgres` without a password, who can come in
    /// through the agent's socket only.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], whatever it is that lies there.
    pub async fn initdb(&self) -> Result<()> {
        if !is_vacant(&self.data)? {
            return Err(Error::NotEmpty(self.data.clone()));
        }
        let mut command = tool::command(self, "initdb");
        command
            .arg("--pgdata")
            .arg(&self.data)
            .args(["--username=postgres", "--data-checksums"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--auth-local=peer", "--auth-host=scram-sha-256"]);
        tool::run(&mut command).await?;
        Ok(())
    }
}

fn is_vacant(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(files::at("list", path)(error)),
    }
}
