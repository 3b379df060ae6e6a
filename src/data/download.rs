//! Downloading of known data sets from their public mirrors: a file appears complete and correct, or not at all.
//!
//! A file grows under a hidden name and is renamed once its length and SHA-256 are correct. A broken connection is
//! resumed, with the same mirror or the next, in the same call or a later one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::elements::read_fully;
use crate::error::{Error, Result, suggest};
use crate::files::sync_folder;

/// Most connections to one mirror, and most in succession that bring no data.
const CONNECTIONS: usize = 20;
const FRUITLESS: usize = 2;

/// A file to download, with its expected content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// The name, both after a mirror's address and in the folder.
    pub name: &'static str,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: &'static str,
}

/// A data set of several files, and its mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The name of the data set.
    pub name: &'static str,
    /// Base addresses of the files, tried in turn.
    pub mirrors: &'static [&'static str],
    /// The files.
    pub files: &'static [RemoteFile],
}

/// The names of the files of MNIST and of data sets made like it.
const MNIST_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

/// The files of a data set made like MNIST, of these lengths and checksums.
const fn like_mnist(content: [(u64, &'static str); 4]) -> [RemoteFile; 4] {
    const fn file(at: usize, (bytes, sha256): (u64, &'static str)) -> RemoteFile {
        RemoteFile { name: MNIST_FILES[at], bytes, sha256 }
    }
    [file(0, content[0]), file(1, content[1]), file(2, content[2]), file(3, content[3])]
}

// Lengths and checksums are those recorded by TensorFlow Datasets.
static MNIST: [RemoteFile; 4] = like_mnist([
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
]);
static FASHION_MNIST: [RemoteFile; 4] = like_mnist([
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
]);

/// The known data sets.
pub static COLLECTIONS: [Collection; 2] = [
    Collection {
        name: "mnist",
        mirrors: &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        files: &MNIST,
    },
    Collection {
        name: "fashion-mnist",
        mirrors: &[
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ],
        files: &FASHION_MNIST,
    },
];

/// Finds the data set of this name. Fails where the name is unknown.
pub fn collection(name: &str) -> Result<&'static Collection> {
    COLLECTIONS.iter().find(|collection| collection.name == name).ok_or_else(|| {
        let help = suggest(name, COLLECTIONS.iter().map(|collection| collection.name));
        Error::invalid(format!("data set \"{name}\""), "it is not known", help)
    })
}

/// The result of [`Downloader::fetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file existed and is correct.
    AlreadyThere,
    /// The file was downloaded, its last byte from this mirror.
    From(String),
}

/// Downloads files from mirrors.
#[derive(Debug)]
pub struct Downloader {
    agent: ureq::Agent,
    patience: Duration,
}

/// The failure of a connection.
enum Fault {
    /// A failure of the mirror or the network: another connection may succeed.
    Remote(String),
    /// The file cannot be written here: no mirror can help.
    Local(Error),
}

impl Downloader {
    /// Makes a downloader that abandons a connection after `patience`; the next one resumes the download,
    /// or has twice the time if the mirror can only start over. A proxy is taken from the environment.
    pub fn new(patience: Duration) -> Downloader {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(patience.min(Duration::from_secs(15))))
            .timeout_recv_response(Some(patience))
            .http_status_as_error(false)
            .build();
        Downloader { agent: config.into(), patience }
    }

    /// Downloads a file into a folder, trying the mirrors in turn; `progress` receives the number of bytes so far.
    ///
    /// Fails where another file of this name exists, where the folder cannot be written, and where no mirror
    /// delivers the file; the part received is then kept for the next call, under a hidden name.
    pub fn fetch(
        &self,
        file: &RemoteFile,
        mirrors: &[String],
        folder: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Fetched> {
        let target = folder.join(file.name);
        if target.exists() {
            if File::open(&target).and_then(digest).map_err(Error::io("read", &target))? == file.sha256 {
                return Ok(Fetched::AlreadyThere);
            }
            let problem = format!("is not the expected file (SHA-256 {})", file.sha256);
            return Err(Error::file(&target, problem, "move it away, or choose another folder"));
        }
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let partial = folder.join(format!(".{}.part", file.name));
        let mut faults = Vec::new();
        for mirror in mirrors {
            let address = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
            match self.fetch_from(&address, file, &partial, progress) {
                Ok(()) => {
                    fs::rename(&partial, &target).map_err(Error::io("write", &target))?;
                    sync_folder(&target);
                    return Ok(Fetched::From(mirror.clone()));
                }
                Err(Fault::Local(error)) => return Err(error),
                Err(Fault::Remote(problem)) => faults.push(format!("{address}: {problem}")),
            }
        }
        if fs::metadata(&partial).is_ok_and(|partial| partial.len() == 0) {
            // The partial file is useless but harmless, so ignore errors.
            let _ = fs::remove_file(&partial);
        }
        Err(Error::invalid(
            format!("download of {}", file.name),
            format!("no mirror sent it ({})", faults.join("; ")),
            "check the network and try again: the download is resumed where it stopped",
        ))
    }

    /// Connects to one mirror until the file is complete and correct.
    fn fetch_from(
        &self,
        address: &str,
        file: &RemoteFile,
        partial: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Fault> {
        let local = |source| Fault::Local(Error::io("write", partial)(source));
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(partial);
        let mut growing = open.map_err(local)?;
        let (mut fruitless, mut patience, mut problem) = (0, self.patience, "it sent nothing".to_owned());
        for _ in 0..CONNECTIONS {
            let mut began = growing.seek(SeekFrom::End(0)).map_err(local)?;
            if began > file.bytes {
                growing.set_len(0).map_err(local)?;
                began = 0;
            }
            if began < file.bytes {
                match self.connect(address, file, &mut growing, patience, progress) {
                    Err(Fault::Remote(fault)) => problem = fault,
                    result => result?,
                }
            }
            let length = growing.seek(SeekFrom::End(0)).map_err(local)?;
            if length > file.bytes {
                growing.set_len(0).map_err(local)?;
                problem = format!("it sent more than {} bytes", file.bytes);
                break;
            }
            if length == file.bytes {
                growing.seek(SeekFrom::Start(0)).map_err(local)?;
                growing.sync_all().map_err(local)?;
                if digest(&growing).map_err(local)? == file.sha256 {
                    return Ok(());
                }
                growing.set_len(0).map_err(local)?;
                problem = "it sent other bytes than it should".to_owned();
                // The bytes received earlier may have been wrong.
                if began == 0 {
                    break;
                }
            } else if length > began {
                fruitless = 0;
            } else {
                // No progress: the mirror may have had to start over, and needs longer.
                fruitless += 1;
                patience *= 2;
                if fruitless == FRUITLESS {
                    break;
                }
            }
        }
        Err(Fault::Remote(problem))
    }

    /// Runs one connection: appends to the bytes received so far, or starts over if the mirror cannot resume.
    fn connect(
        &self,
        address: &str,
        file: &RemoteFile,
        growing: &mut File,
        patience: Duration,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Fault> {
        let local = |source| Fault::Local(Error::io("write", Path::new(file.name))(source));
        // Errors are one line, even if the server sends several.
        let remote = |error: String| Fault::Remote(error.replace(['\n', '\r'], " "));
        let mut have = growing.seek(SeekFrom::End(0)).map_err(local)?;
        // Forbid compression in transit: the bytes are counted.
        let mut request = self.agent.get(address).header("Accept-Encoding", "identity");
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let request = request.config().timeout_recv_body(Some(patience)).build();
        let mut response = request.call().map_err(|error| remote(error.to_string()))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        match response.status().as_u16() {
            206 if header("content-range").is_some_and(|range| range.starts_with(&format!("bytes {have}-"))) => {}
            200 => {
                let length = header("content-length").and_then(|length| length.parse::<u64>().ok());
                if let Some(length) = length.filter(|length| *length != file.bytes) {
                    return Err(remote(format!("it has a file of {length} bytes in place of {}", file.bytes)));
                }
                growing.set_len(0).map_err(local)?;
                have = 0;
            }
            // The mirror rejects this range: try without one.
            206 | 416 => {
                growing.set_len(0).map_err(local)?;
                return Err(remote(format!("it answered {} to a range", response.status())));
            }
            _ => return Err(remote(format!("it answered {}", response.status()))),
        }
        growing.seek(SeekFrom::Start(have)).map_err(local)?;
        let mut body = response.body_mut().as_reader().take(file.bytes - have + 1);
        let mut block = vec![0; 64 << 10];
        while have <= file.bytes {
            let count = match body.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(remote(format!("it ended after {have} of {} bytes ({error})", file.bytes))),
            };
            growing.write_all(&block[..count]).map_err(local)?;
            have += count as u64;
            progress(have.min(file.bytes));
        }
        if have < file.bytes {
            return Err(remote(format!("it ended after {have} of {} bytes", file.bytes)));
        }
        Ok(())
    }
}

/// Computes a file's SHA-256 in hexadecimal digits.
fn digest(mut file: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 64 << 10];
    loop {
        match read_fully(&mut file, &mut block)? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
