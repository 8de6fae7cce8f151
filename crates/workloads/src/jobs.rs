//! Folders in which the scripts of a batch system say which job has which device.
//!
//! Two forms are in use: files named by a GPU or by a GPU and its instance, `0` or `0.7`, with the id of a job in each
//! line (dcgm-exporter); and files named by a GPU with a JSON object (AMD's exporter).

use std::path::Path;

use kernel::{File, entries};
use reading::Measured;
use serde::Deserialize;

/// The longest file: a few jobs on one device.
const FILE_BYTES_MAX: usize = 64 << 10;

/// A job that has a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What the file calls the device.
    pub device: String,
    /// Id of the job.
    pub id: String,
    /// Who submitted it, where the file says that.
    pub user: Option<String>,
}

#[derive(Deserialize)]
struct Json {
    #[serde(rename = "JOB_ID")]
    id: String,
    #[serde(rename = "JOB_USER", default)]
    user: String,
}

/// The jobs in a folder. A file that cannot be read is one of a job that has just ended.
///
/// # Errors
/// When the folder is not there.
pub fn list(folder: &Path) -> Measured<Vec<Job>> {
    std::fs::read_dir(folder).map_err(|error| kernel::file::fault("job-mapping", &error))?;
    let named = entries(folder).into_iter().filter(|name| is_device(name));
    Ok(named.flat_map(|name| read(folder, &name)).collect())
}

/// Whether a file is called like a device: other files in the folder are not ours.
fn is_device(name: &str) -> bool {
    let numbers: Vec<_> = name.split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() <= 2 && numbers.iter().all(is_number)
}

fn read(folder: &Path, name: &str) -> Vec<Job> {
    let file = File::called(folder.join(name), "job-mapping");
    let Ok(bytes) = file.bytes(FILE_BYTES_MAX) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let job = |id: &str, user: Option<String>| Job { device: name.to_owned(), id: id.to_owned(), user };
    if text.trim_start().starts_with('{') {
        let json: Option<Json> = serde_saphyr::from_str(&text).ok();
        let json = json.filter(|json| !json.id.is_empty());
        return json
            .map(|Json { id, user }| job(&id, Some(user).filter(|user| !user.is_empty())))
            .into_iter()
            .collect();
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| job(line, None)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_forms_are_read_and_other_files_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        put("0", "4711\n4712\n\n");
        put("1.7", "88_3");
        put(
            "2",
            "{\"JOB_ID\": \"99\", \"JOB_USER\": \"ada\", \"JOB_PARTITION\": \"gpu\", \"CLUSTER_NAME\": \"c\"}",
        );
        put("3", "");
        put("4", "{\"JOB_ID\": ");
        put("README", "1");
        put("1.2.3", "1");
        let listed = list(folder.path()).expect("listed");
        let shown: Vec<_> = listed
            .iter()
            .map(|job| format!("{}={} {}", job.device, job.id, job.user.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(shown, ["0=4711 -", "0=4712 -", "2=99 ada", "1.7=88_3 -"]);
        assert_eq!(list(Path::new("/nowhere")).map_err(|fault| fault.code.name()), Err("ENOENT"));
    }
}
