//! Files that nobody would write: valid ones, damaged at random. No reader may panic, hang, or take more memory than twice
//! the file and a few MiB. `PINHOLE_FUZZ_SECONDS=600` runs each target for so long instead of some thousand cases.

use crate::data::arrays::{npy, zip};
use crate::support::{SMALL_CONV, SMALL_DENSE, fixture, folder, network};
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use flate2::write::GzEncoder;
use pinhole::data::csv::read_csv;
use pinhole::data::idx::read_idx;
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::data::npz::Npz;
use pinhole::data::{self, Columns, Reading};
use pinhole::model::{ModelSpec, Network};
use pinhole::rng;
use pinhole::train::Checkpoint;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Counts what each thread has allocated, and the most that it had at a time.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: everything is the system's allocator's; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that this thread held at a time while it did something, beyond what it held before.
fn most_held(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    work();
    (MOST.get() - before) as usize
}

/// What a reader may take beside twice the file: its buffers.
const SLACK: usize = 4 << 20;

/// Draws of one case.
struct Dice {
    stream: u32,
    case: u32,
    drawn: u32,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.drawn += 1;
        rng::words(2026, self.case, self.stream, self.drawn)[0] as usize % sides.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &'a [Box<T>]) -> &'a T {
        let at = self.roll(from.len());
        &from[at]
    }
}

/// Numbers that sizes and offsets go wrong at.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    1 << 40,
    1 << 20,
];

/// Words that the formats know, to be put where they do not belong.
const WORDS: [&str; 20] = [
    "\n",
    ",",
    ";",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "nan",
    "1e999",
    "-",
    "shape",
    "<f8",
    "=",
    "99999999999999999999",
    "\u{feff}",
    "PK\x05\x06",
];

/// A file with one to six things wrong, or with none.
fn damaged(dice: &mut Dice, seeds: &[Box<[u8]>]) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).to_vec();
    for _ in 0..dice.roll(7) {
        let at = dice.roll(bytes.len() + 1);
        let length = dice.roll(33).min(bytes.len() - at);
        match dice.roll(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            1 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let part = bytes[at..at + length].to_vec();
                let times = [1, 2, 300][dice.roll(3)];
                drop(bytes.splice(at..at, part.repeat(times)));
            }
            5 => {
                let number = NUMBERS[dice.roll(NUMBERS.len())];
                let size = [1, 2, 4, 8][dice.roll(4)];
                let number = if dice.roll(2) == 0 {
                    number.to_le_bytes()[..size].to_vec()
                } else {
                    number.to_be_bytes()[8 - size..].to_vec()
                };
                for (place, byte) in bytes[at..].iter_mut().zip(number) {
                    *place = byte;
                }
            }
            6 => {
                let word = WORDS[dice.roll(WORDS.len())].as_bytes();
                let times = [1, 1, 1, 2000][dice.roll(4)];
                drop(bytes.splice(at..at, word.repeat(times)));
            }
            7 => {
                // A number in text becomes another.
                let digits = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found);
                let number = NUMBERS[dice.roll(NUMBERS.len())].to_string();
                if let Some(start) = digits {
                    let end = bytes[start..].iter().position(|byte| !byte.is_ascii_digit());
                    drop(bytes.splice(start..end.map_or(bytes.len(), |end| start + end), number.into_bytes()));
                }
            }
            _ => {
                let other = dice.pick(seeds);
                let (from, to) = (dice.roll(other.len()), dice.roll(other.len()));
                drop(bytes.splice(at..at + length, other[from.min(to)..from.max(to)].iter().copied()));
            }
        }
    }
    bytes
}

/// Gives damaged files to a reader, which says whether it liked them. `unpacked` says how much comes out of a file's packed
/// parts: a reader may take three times that, which is when 16-bit numbers become f32 and more of them were claimed.
fn fuzz(
    stream: u32,
    seeds: &[Box<[u8]>],
    unpacked: impl Fn(&[u8]) -> usize,
    mut read: impl FnMut(&Path) -> Result<(), String>,
) {
    let seconds = std::env::var("PINHOLE_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("PINHOLE_FUZZ_SECONDS is a whole number of seconds"));
    let (folder, began) = (folder(), Instant::now());
    let path = folder.path().join("fuzzed");
    let (mut liked, mut case) = (0, 0);
    while seconds.map_or(case < 3000, |seconds| began.elapsed() < Duration::from_secs(seconds)) {
        let bytes = damaged(&mut Dice { stream, case, drawn: 0 }, seeds);
        std::fs::write(&path, &bytes).expect("a written file");
        let started = Instant::now();
        let mut said = Ok(());
        // A panic is the test's own; its case is the number after the last one that was said.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| most_held(|| said = read(&path))));
        let held = result.unwrap_or_else(|_| panic!("stream {stream}, case {case}: the reader panicked"));
        let allowed = 2 * bytes.len() + SLACK;
        let allowed = if held <= allowed { allowed } else { allowed + 3 * unpacked(&bytes) };
        assert!(held <= allowed, "stream {stream}, case {case}: {held} bytes held for a file of {}", bytes.len());
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "stream {stream}, case {case}: took {:?}",
            started.elapsed()
        );
        match said {
            Ok(()) => liked += 1,
            Err(message) => assert!(!message.contains('\n'), "stream {stream}, case {case}: not one line: {message}"),
        }
        case += 1;
    }
    // A target that takes everything or nothing tests nothing.
    assert!(liked > 0 && liked < case, "stream {stream}: {liked} of {case} were read");
    println!("fuzz stream {stream}: {case} files, {liked} of them read, in {:.0?}", began.elapsed());
}

/// How many bytes a reader gives before it ends or fails.
fn comes_out(mut reader: impl Read) -> usize {
    let (mut block, mut all) = (vec![0; 1 << 16], 0);
    while let Ok(count @ 1..) = reader.read(&mut block) {
        all += count;
    }
    all
}

fn told<T>(result: pinhole::Result<T>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

fn idx(kind: u8, sizes: &[u32], elements: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend((0..elements).map(|k| k as u8));
    bytes
}

fn gzip(bytes: &[u8]) -> Box<[u8]> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("bytes packed");
    packed.finish().expect("a whole stream").into()
}

#[test]
fn damaged_idx_files() {
    let plain = [
        idx(8, &[3, 4], 12),
        idx(8, &[2, 3, 4], 24),
        idx(0x0d, &[5], 20),
        idx(0x0e, &[2, 1, 1, 1], 16),
        idx(0x0b, &[300], 600),
    ];
    let mut seeds: Vec<Box<[u8]>> = plain.iter().map(|bytes| gzip(bytes)).collect();
    seeds.push(gzip(&idx(8, &[1000, 1000], 1_000_000)));
    seeds.extend(plain.into_iter().map(Vec::into));
    fuzz(1, &seeds, |bytes| comes_out(MultiGzDecoder::new(bytes)), |path| told(read_idx(path)));
}

#[test]
fn damaged_npy_files() {
    let header = |descr: &str, fortran: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}      \n")
    };
    let elements: Vec<u8> = (0..96).collect();
    let seeds: Vec<Box<[u8]>> = [
        npy(&header("<f4", "False", "(2, 3, 4)"), &elements),
        npy(&header(">f8", "True", "(3, 4)"), &elements),
        npy(&header("|u1", "True", "(96,)"), &elements),
        npy(&header("<i2", "True", "(2, 3, 2, 4)"), &elements),
        npy(&header("<i8", "False", "(12, 1)"), &elements),
        npy(&header("|b1", "False", "(12, 8)"), &elements),
        npy(&header(">f2", "True", "(3, 4)"), &elements[..24]),
        npy(&header("|i1", "False", "(12, 8)"), &elements),
        std::fs::read(fixture("fortran.npy")).expect("a fixture"),
        std::fs::read(fixture("record.npy")).expect("a fixture"),
        gzip(&npy(&header("<f4", "False", "(2, 3, 4)"), &elements)).into(),
    ]
    .map(Vec::into)
    .into();
    fuzz(2, &seeds, |bytes| comes_out(MultiGzDecoder::new(bytes)), |path| told(read_npy(path)));
}

#[test]
fn damaged_npz_files() {
    let array = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n", &[1; 24]);
    let seeds: Vec<Box<[u8]>> = vec![
        zip(&[("x.npy", &array)]).into(),
        zip(&[("x.npy", &array), ("readme", b"hello"), ("y.npy", &array)]).into(),
        std::fs::read(fixture("arrays.npz")).expect("a fixture").into(),
        std::fs::read(fixture("arrays-stored.npz")).expect("a fixture").into(),
    ];
    // Whatever the directory says, an array begins with a local header of 30 bytes, a name and a field.
    let largest = |bytes: &[u8]| {
        let locals = bytes.windows(4).enumerate().filter(|(_, window)| *window == b"PK\x03\x04");
        let packed = locals.filter_map(|(at, _)| {
            let length =
                |place: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(place)?, *bytes.get(place + 1)?])));
            bytes.get(at + 30 + length(at + 26)? + length(at + 28)?..)
        });
        packed.map(|packed| comes_out(DeflateDecoder::new(packed))).max().unwrap_or(0)
    };
    fuzz(3, &seeds, largest, |path| {
        let npz = Npz::open(path).map_err(|error| error.to_string())?;
        let names: Vec<&str> = npz.names().collect();
        names.iter().take(40).try_for_each(|name| told(npz.read(name)))
    });
}

#[test]
fn damaged_csv_files() {
    let long: String = (0..2000).map(|k| format!("{},{},{}\n", k, k * k, 1.0 / f64::from(k + 1))).collect();
    let seeds: Vec<Box<[u8]>> = [
        "1,2,3\n4,5,6\n",
        "a,\"b, c\",d\r\n1,2,3\r\n-4e-3,.5,6.\r\n",
        "\u{feff}x;y\n1,5;2\n3;4,25\n",
        "1\t2\n\n3\t4\n",
        "1\n1\n1\n1\n1\n1\n1\n1\n",
        &long,
    ]
    .map(|text| text.as_bytes().into())
    .into();
    let seeds = [&seeds[..], &[gzip(&seeds[1]), gzip(&seeds[5])]].concat();
    fuzz(4, &seeds, |bytes| comes_out(MultiGzDecoder::new(bytes)), |path| told(read_csv(path)));
}

/// Pictures may claim up to 512 MiB of pixels in a few bytes, so their memory is not held against their length.
#[test]
fn damaged_pictures() {
    let names =
        ["colour.bmp", "grey.bmp", "frames.gif", "clear.gif", "alpha.webp", "lossy.webp", "alpha.png", "grey16.png"];
    let tiffs = ["grey-lzw.tif", "grey16-deflate.tif", "colour.tif", "bits.tif", "frames.tif"];
    let seeds: Vec<Box<[u8]>> = names
        .iter()
        .chain(&tiffs)
        .map(|name| std::fs::read(fixture("pictures").join(name)).expect("a fixture").into())
        .collect();
    fuzz(23, &seeds, |_| 1 << 30, |path| told(data::load(&path.display().to_string())));
}

#[test]
fn damaged_ratings_tables_and_sparse_matrices() {
    let seeds: Vec<Box<[u8]>> = [
        "user,item,value\n1,2,3\n1,3\n20,2,0.5\n",
        "anna;\"a; b\"\nbert;c\n",
        "name,age,work\nanna,30,\"x \"\"y\"\"\"\nbert,-4e1,z\n\ncara,50,z\n",
        "\u{feff}a\tb\r\n1\t2\r\n3\t4\r\n",
    ]
    .map(|text| text.as_bytes().into())
    .into();
    fuzz(20, &seeds, |_| 0, |path| told(data::load(&format!("ratings:{}", path.display()))));
    fuzz(
        21,
        &seeds,
        |_| 0,
        |path| {
            let table = path.with_extension("csv");
            std::fs::copy(path, &table).map_err(|error| error.to_string())?;
            let reading = Reading { columns: Some(Columns::default()), ..Reading::default() };
            told(data::load_with(&table.display().to_string(), &reading))
        },
    );
    let sparse = std::fs::read(fixture("sparse.npz")).expect("a fixture").into();
    fuzz(22, &[sparse], |_| 0, |path| told(data::load(&path.display().to_string())));
}

#[test]
fn damaged_safetensors_files() {
    // Weights with and without a checkpoint's moments and position, of a small model.
    let network: Network = network(crate::model::weights::MODEL);
    let scratch = folder();
    let file = |name: &str| std::fs::read(scratch.path().join(name)).expect("a file").into();
    let mut model = pinhole::Autoencoder::new(network.spec().clone(), pinhole::Device::Cpu).expect("a model");
    model.save(scratch.path()).expect("a saved model");
    let moments = vec![model.parameters().clone(), model.parameters().clone()];
    let parameters = model.parameters().clone();
    let checkpoint = Checkpoint { parameters, moments, average: None, best: None, progress: Default::default() };
    checkpoint.write(&scratch.path().join("checkpoint"), network.layout()).expect("a checkpoint");
    let wrapped = std::fs::read(fixture("parallel-f16.safetensors")).expect("a fixture").into();
    let seeds: Vec<Box<[u8]>> = vec![file("model.safetensors"), file("checkpoint"), wrapped];
    fuzz(
        5,
        &seeds,
        |_| 0,
        |path| {
            let checkpoint = told(Checkpoint::read(path, &network, 2));
            let weights = told(model.load_weights(path));
            checkpoint.or(weights)
        },
    );
}

/// Neither what a header claims of its own length, nor one of nothing but tensors, makes a reader take more than the file
/// is long and a few MiB.
#[test]
fn a_safetensors_header_takes_no_more_than_its_file() {
    let text = "input = [3]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 3 }]\n";
    let (network, folder) = (network(text), folder());
    let path = folder.path().join("file.safetensors");
    let check = |what: &str, bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("a file");
        let mut said = String::new();
        let held = most_held(|| said = told(Checkpoint::read(&path, &network, 2)).expect_err(what));
        assert!(held <= bytes.len() + (8 << 20), "{what}: {held} bytes held for a file of {}", bytes.len());
        let problems = ["is no safetensors file", "is no checkpoint", "has a header of"];
        assert!(problems.iter().any(|problem| said.contains(problem)), "{what}: {said}");
        assert!(!said.contains('\n'), "{what}: {said}");
        held
    };
    for length in [u64::MAX, i64::MAX as u64, 1 << 40, 100_000_000, 99_999_999, 1 << 20, 4096, 57, 56] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}");
        let _ = check(&format!("a header of {length} bytes"), &bytes);
    }
    for (count, shape) in [(4000, "0"), (2000, "0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), (200_000, "0")] {
        let tensor = |k: usize| format!("\"{k:x}\":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[0,0]}}");
        let header = format!("{{{}}}", (0..count).map(tensor).collect::<Vec<String>>().join(","));
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        let held = check(&format!("{count} tensors"), &bytes);
        println!("{count} tensors in {} bytes: {held} held", bytes.len());
    }
}

#[test]
fn damaged_model_files() {
    let mut seeds: Vec<Box<[u8]>> = vec![SMALL_CONV.as_bytes().into(), SMALL_DENSE.as_bytes().into()];
    for name in ["conv-ae", "dense-ae", "conv-ae-wide"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/models/{name}.toml"));
        seeds.push(std::fs::read(path).expect("an example").into());
    }
    seeds.push(pinhole::model::preset::preset("conv").expect("a preset").text.as_bytes().into());
    fuzz(6, &seeds, |_| 0, |path| told(ModelSpec::read(path)));
}

// ---- large files

/// Whole files of some MiB, where what a reader takes is more than the slack.
#[test]
fn large_files_take_at_most_twice_their_size() {
    let folder = folder();
    let path = folder.path().join("large");
    let within = |what: &str, path: &Path, read: &dyn Fn(&Path)| {
        let bytes = std::fs::metadata(path).expect("a file").len() as usize;
        let held = most_held(|| read(path));
        assert!(held <= 2 * bytes + (1 << 20), "{what}: {held} bytes held for a file of {bytes}");
    };
    let count = 3 << 20;
    std::fs::write(&path, idx(8, &[count as u32], count)).expect("a file");
    within("IDX of bytes", &path, &|path| drop(read_idx(path).expect("numbers")));
    std::fs::write(&path, idx(0x0b, &[count as u32], 2 * count)).expect("a file");
    within("IDX of 16 bits", &path, &|path| drop(read_idx(path).expect("numbers")));
    let values = vec![0.5; count];
    write_npy(&path, &[1024, count / 1024].into(), &values).expect("a file");
    within("NPY", &path, &|path| drop(read_npy(path).expect("numbers")));
    let mut fortran = std::fs::read(&path).expect("a file");
    let at = fortran.windows(5).position(|word| word == b"False").expect("the order");
    fortran[at..at + 5].copy_from_slice(b"True ");
    std::fs::write(&path, &fortran).expect("a file");
    within("NPY in Fortran's order", &path, &|path| drop(read_npy(path).expect("numbers")));
    std::fs::write(&path, zip(&[("x.npy", &fortran)])).expect("a file");
    within("NPZ", &path, &|path| drop(Npz::open(path).and_then(|npz| npz.read("x")).expect("numbers")));
    for text in ["1\n", "1,2,3,4\n", "0.123456789,1e-5\n"] {
        std::fs::write(&path, text.repeat(count / text.len())).expect("a file");
        within("CSV", &path, &|path| drop(read_csv(path).expect("numbers")));
    }
}
