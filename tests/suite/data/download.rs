//! Downloads, against a server in this process that does everything wrong that servers and networks do.

use crate::support::folder;
use crate::temp::Place;
use pinhole::data::download::{COLLECTIONS, Downloader, Fetched, RemoteFile, collection};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Sends all that is asked for.
    Serve,
    /// Knows no ranges.
    Whole,
    /// Closes the connection after so many bytes.
    Drop(usize),
    /// Knows no ranges, and closes the connection after so many bytes.
    DropWhole(usize),
    /// Sends so many bytes, and then nothing for long.
    Stall(usize),
    /// Changes a byte.
    Wrong,
    /// Sends a page of text in place of the file.
    Page,
    /// Sends a byte more than there is, without saying how many.
    TooLong,
    /// Sends another range than the one that was asked for.
    OtherRange,
    /// Answers with this status and nothing else.
    Status(u16),
}

struct Server {
    address: String,
    /// The range of every request, empty where there is none.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves these bytes to as many requests as there are acts, whatever their path, and then no more.
    fn new(content: &[u8], acts: &[Act]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}/files/", listener.local_addr().expect("an address"));
        let ranges: Arc<Mutex<Vec<String>>> = Arc::default();
        let (content, acts, seen) = (content.to_vec(), acts.to_vec(), ranges.clone());
        std::thread::spawn(move || {
            for act in acts {
                let Ok((stream, _)) = listener.accept() else { return };
                let (content, seen) = (content.clone(), seen.clone());
                std::thread::spawn(move || answer(stream, &content, act, &seen));
            }
        });
        Server { address, ranges }
    }

    fn ranges(&self) -> Vec<String> {
        self.ranges.lock().expect("no panic").clone()
    }
}

fn answer(stream: TcpStream, content: &[u8], act: Act, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut range = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range:") {
            range = value.trim().to_owned();
        }
    }
    seen.lock().expect("no panic").push(range.clone());
    let knows_ranges = !matches!(act, Act::Whole | Act::DropWhole(_) | Act::Page | Act::TooLong | Act::Status(_));
    let start = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
    let start = start.filter(|_| knows_ranges);
    let mut body = content[start.unwrap_or(0).min(content.len())..].to_vec();
    let mut length = Some(body.len());
    let mut status = if start.is_some() { "206 Partial Content".to_owned() } else { "200 OK".to_owned() };
    match act {
        Act::Wrong => {
            let last = body.len() - 1;
            body[last] ^= 1;
        }
        Act::Page => {
            body = b"<html>come back later</html>".to_vec();
            length = Some(body.len());
        }
        Act::TooLong => {
            body.push(0);
            length = None;
        }
        Act::Status(code) => {
            (status, body, length) = (format!("{code} No"), vec![], Some(0));
        }
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    if let Some(length) = length {
        head += &format!("Content-Length: {length}\r\n");
    }
    if let Some(start) = start {
        let first = if matches!(act, Act::OtherRange) { start / 2 } else { start };
        head += &format!("Content-Range: bytes {first}-{}/{}\r\n", content.len() - 1, content.len());
    }
    let mut stream = stream;
    // The other side may have gone, which is its right.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let sent = match act {
        Act::Drop(count) | Act::DropWhole(count) | Act::Stall(count) => count.min(body.len()),
        _ => body.len(),
    };
    let _ = stream.write_all(&body[..sent]);
    let _ = stream.flush();
    if let Act::Stall(_) = act {
        std::thread::sleep(Duration::from_secs(4));
    }
}

fn content() -> Vec<u8> {
    (0..200_000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn remote(content: &[u8]) -> RemoteFile {
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    RemoteFile { name: "file.gz", bytes: content.len() as u64, sha256: sha256.leak() }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Fetches from servers that act so, each a mirror, into a folder; the requests' ranges, by mirror.
fn fetch(folder: &Path, mirrors: &[&[Act]]) -> (Result<usize, String>, Vec<Vec<String>>) {
    let content = content();
    let servers: Vec<Server> = mirrors.iter().map(|acts| Server::new(&content, acts)).collect();
    let addresses: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    let downloader = Downloader::new(Duration::from_millis(700));
    let mut most = 0;
    let result = downloader.fetch(&remote(&content), &addresses, folder, &mut |bytes| most = most.max(bytes));
    let result = match result {
        Ok(Fetched::From(address)) => {
            assert_eq!(most, 200_000);
            assert!(std::fs::read(folder.join("file.gz")).expect("the file") == content, "other bytes");
            assert_eq!(names(folder), ["file.gz"], "something is left behind");
            Ok(addresses.iter().position(|known| *known == address).expect("one of the mirrors"))
        }
        Ok(Fetched::AlreadyThere) => panic!("nothing was there"),
        Err(error) => {
            assert!(!folder.join("file.gz").exists(), "a file that is not whole");
            let mut text = error.to_string();
            assert!(!text.contains('\n'), "{text}");
            for (index, address) in addresses.iter().enumerate() {
                text = text.replace(address, &format!("M{index}/"));
            }
            Err(text)
        }
    };
    (result, servers.iter().map(Server::ranges).collect())
}

#[test]
fn a_file_comes_whole_whatever_happens_on_the_way() {
    use Act::*;
    /// What each mirror does, the bytes that are there already, and the ranges that each mirror is asked for.
    type Course<'a> = (&'a [&'a [Act]], usize, &'a [&'a [&'a str]]);
    let cases: &[Course] = &[
        (&[&[Serve]], 0, &[&[""]]),
        (&[&[Whole]], 0, &[&[""]]),
        // The connection breaks, twice, and is taken up where it broke.
        (&[&[Drop(1000), Drop(50_000), Serve]], 0, &[&["", "bytes=1000-", "bytes=51000-"]]),
        // The same mirror is gone then: the next goes on.
        (
            &[&[Drop(1000), Status(503), Status(503)], &[Serve]],
            1,
            &[&["", "bytes=1000-", "bytes=1000-"], &["bytes=1000-"]],
        ),
        // No ranges there: from the beginning.
        (&[&[DropWhole(1000), Whole]], 0, &[&["", "bytes=1000-"]]),
        (&[&[Drop(1000), OtherRange, Serve]], 0, &[&["", "bytes=1000-", ""]]),
        (&[&[Drop(1000), Status(416), Serve]], 0, &[&["", "bytes=1000-", ""]]),
        // Silence is no progress.
        (&[&[Stall(3000), Serve]], 0, &[&["", "bytes=3000-"]]),
        // Wrong bytes: the next mirror. A wrong part that another mirror left: the same again, from the beginning.
        (&[&[Wrong], &[Serve]], 1, &[&[""], &[""]]),
        (&[&[Drop(1000), Wrong, Serve]], 0, &[&["", "bytes=1000-", ""]]),
        (&[&[TooLong], &[Serve]], 1, &[&[""], &[""]]),
        (&[&[Page, Page], &[Status(404), Status(404)], &[Serve]], 2, &[&["", ""], &["", ""], &[""]]),
    ];
    for (mirrors, last, ranges) in cases {
        let folder = folder();
        let (result, seen) = fetch(folder.path(), mirrors);
        assert_eq!(result, Ok(*last), "{mirrors:?}, {seen:?}");
        assert_eq!(seen, *ranges, "{mirrors:?}");
    }
}

#[test]
fn a_file_that_does_not_come_is_not_there() {
    use Act::*;
    let help = "check the network and try again: the download is resumed where it stopped";
    let failed = |mirrors: &[&[Act]]| {
        let folder = folder();
        let (result, _) = fetch(folder.path(), mirrors);
        (result.expect_err("an error"), names(folder.path()))
    };
    let (said, left) = failed(&[&[Status(404), Status(404)], &[Status(500), Status(500)]]);
    let expected = "(M0/file.gz: it answered 404 Not Found; M1/file.gz: it answered 500 Internal Server Error)";
    assert_eq!(said, format!("download of file.gz: no mirror sent it {expected}; {help}"));
    assert_eq!(left, [""; 0]);
    let (said, left) = failed(&[&[Wrong]]);
    assert_eq!(
        said,
        format!("download of file.gz: no mirror sent it (M0/file.gz: it sent other bytes than it should); {help}")
    );
    assert_eq!(left, [""; 0]);
    let (said, _) = failed(&[&[Page, Page]]);
    let problem = "it has a file of 28 bytes in place of 200000";
    assert_eq!(said, format!("download of file.gz: no mirror sent it (M0/file.gz: {problem}); {help}"));

    // What came is kept, hidden, and a later call goes on with it.
    let folder = folder();
    let (result, _) = fetch(folder.path(), &[&[Drop(7000), Status(503), Status(503)]]);
    assert!(result.is_err());
    assert_eq!(names(folder.path()), [".file.gz.part"]);
    let (result, ranges) = fetch(folder.path(), &[&[Serve]]);
    assert_eq!((result, ranges), (Ok(0), vec![vec!["bytes=7000-".to_owned()]]));
}

#[test]
fn what_is_there_is_looked_at_first() {
    let content = content();
    let file = remote(&content);
    let folder = folder();
    let nowhere = ["http://127.0.0.1:1/".to_owned()];
    let downloader = Downloader::new(Duration::from_millis(700));
    let path = folder.path().join("file.gz");
    let fetch = || downloader.fetch(&file, &nowhere, folder.path(), &mut |_| ());
    let said = fetch().expect_err("nobody is there").to_string();
    assert!(said.starts_with("download of file.gz: no mirror sent it (http://127.0.0.1:1/file.gz: "), "{said}");

    std::fs::write(&path, &content).expect("written");
    assert_eq!(fetch().expect("the file"), Fetched::AlreadyThere);
    std::fs::write(&path, b"mine").expect("written");
    let said = fetch().expect_err("another file").to_string();
    assert!(said.contains("file.gz: is not the expected file (SHA-256 "), "{said}");
    assert_eq!(std::fs::read(&path).expect("the file"), b"mine");
    std::fs::remove_file(&path).expect("removed");

    // A part of another file, and a whole one that was not yet renamed.
    use Act::*;
    let part = folder.path().join(".file.gz.part");
    std::fs::write(&part, vec![9; 5000]).expect("written");
    assert_eq!(self::fetch(folder.path(), &[&[Serve, Serve]]).0, Ok(0));
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&part, vec![9; 500_000]).expect("written");
    assert_eq!(self::fetch(folder.path(), &[&[Serve]]).0, Ok(0));
    std::fs::rename(&path, &part).expect("renamed");
    assert_eq!(
        downloader.fetch(&file, &nowhere, folder.path(), &mut |_| ()).expect("the file"),
        Fetched::From(nowhere[0].clone())
    );
    assert_eq!(names(folder.path()), ["file.gz"]);

    std::fs::write(folder.path().join("file"), b"").expect("written");
    let error = downloader.fetch(&file, &nowhere, &folder.path().join("file"), &mut |_| ()).expect_err("no folder");
    assert!(error.to_string().starts_with("cannot create "), "{error}");
}

#[test]
fn the_program_downloads() {
    for collection in &COLLECTIONS {
        assert_eq!(collection.files.len(), 4);
        for file in collection.files {
            assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()), "{file:?}");
        }
    }
    assert_eq!(collection("mnist").expect("MNIST").mirrors.len(), 2);
    let place = Place::new();
    let server = Server::new(b"no such file", &[Act::Status(404), Act::Status(404)]);
    let said = place.failure(&format!("download mnist data --mirror {}", server.address));
    assert_eq!(
        said.replace(&server.address, "M/"),
        "download of train-images-idx3-ubyte.gz: no mirror sent it (M/train-images-idx3-ubyte.gz: it answered 404 Not \
         Found); check the network and try again: the download is resumed where it stopped"
    );
    assert_eq!(place.names("data"), [""; 0]);
    place.fail(&[(
        "download fashon-mnist",
        "data set \"fashon-mnist\": it is not known; did you mean \"fashion-mnist\"?",
    )]);
}
