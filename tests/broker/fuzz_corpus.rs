//! Every fuzz target over its corpus, and over what becomes of it by chance: the same chance each time.
//!
//! The fuzzer itself goes on where this ends: `fuzz/README.md`.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// Mutations of each file.
const MUTATIONS: u64 = 300;
/// What hostile input is often made of.
const WORDS: [&[u8]; 20] = [
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"{}",
    b"[]",
    b"\"\"",
    b"true",
    b"\\u0000",
    b"\\ud800",
    b"%00",
    b"%",
    b"&",
    b"=",
    b".",
    b"\xff",
    b"\n",
    b"\xe2\x80\xae",
    b"\"sub\":",
    b"\"alg\":\"none\"",
];

/// Chance that is the same each time (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    /// One to four changes: a bit, a cut, a repetition, a word, or a piece of another file.
    fn mutate(&mut self, original: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = at + self.below(bytes.len() - at + 1).min(64);
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                _ => {
                    let from = self.below(other.len());
                    let piece = other[from..other.len().min(from + 64)].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

/// Every file of a target's corpus, then its mutations: as many as there have to be, and on until the time is over.
///
/// # Panics
/// At the first input that breaks the target's promise.
fn fuzz(name: &str, target: targets::Target, at_least: Duration) {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus")).join(name);
    let mut files: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let inputs: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(inputs.len() >= 5, "{name} has no corpus to speak of");
    for input in &inputs {
        target(input);
    }
    let (mut chance, started, mut round) = (Chance(2026), Instant::now(), 0);
    while round < MUTATIONS || started.elapsed() < at_least {
        for (file, input) in files.iter().zip(&inputs) {
            let other = &inputs[chance.below(inputs.len())];
            let mutation = chance.mutate(input, other);
            let told = std::panic::catch_unwind(|| target(&mutation));
            assert!(told.is_ok(), "{}, round {round}: {:?}", file.display(), String::from_utf8_lossy(&mutation));
        }
        round += 1;
    }
    println!("{name}: {} inputs in {:?}", round * files.len() as u64, started.elapsed());
}

/// R-D13, R-E03, R-F05, R-P05: no input whatever makes a reader panic or break its promise. `COUNTERFOIL_FUZZ_SECONDS`
/// is how long each goes on, on a core of its own; the gate gives each a minute.
#[test]
fn no_parser_panics_on_mutated_corpus() {
    let seconds = std::env::var_os("COUNTERFOIL_FUZZ_SECONDS");
    let seconds = seconds.map_or(0, |text| text.to_str().unwrap().parse().unwrap());
    let waiting = Mutex::new(targets::TARGETS.iter());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let next = || waiting.lock().unwrap().next();
                while let Some((name, target)) = next() {
                    fuzz(name, *target, Duration::from_secs(seconds));
                }
            });
        }
    });
}

/// Every corpus has a target, every target a program for the fuzzer.
#[test]
fn targets_programs_and_corpora_go_together() {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"));
    let names = |folder: &str| {
        let entries = fuzz.join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let targets: Vec<_> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!((names("corpus"), names("fuzz_targets")), (targets.clone(), targets));
}
