//! Whether the time to refuse a sealed message tells why it is refused.
#![cfg(feature = "sealed")]

use std::hint::black_box;
use std::time::Instant;

use vmherd::internals::crypto::{BLOCK_BYTES, MessageKeys};
use vmherd::internals::framing::sealed::{is_valid, is_valid_length};

/// Tries of each kind of message.
const TRIES: usize = 100_000;
/// The bound of the statistic for two kinds that take the same time: beyond it by chance once in 100 000 times.
const T_MAX: f64 = 4.5;
/// The share of the longest times, which are those of interrupts, that is left out.
const OUTLIERS: f64 = 0.05;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// A request with an error somewhere: an opening quote less, a letter too much.
fn wrong_json(random: &mut Random) -> Vec<u8> {
    let mut text =
        br#"{"verb": "DESTROY", "parameters": {"container_uuid": "x", "client_token": "y"}}"#.to_vec();
    let at = random.below(text.len());
    text[at] = 0x01;
    text
}

/// Encrypts whole blocks as they are.
fn encrypt(keys: &MessageKeys, mut blocks: Vec<u8>) -> Vec<u8> {
    let length = blocks.len();
    keys.key.encrypt(keys.iv, &mut blocks);
    // Without the padding that encryption adds.
    blocks.truncate(length);
    blocks
}

/// Pads `text`, rightly or wrongly in its last byte.
fn pad(mut text: Vec<u8>, is_right: bool, random: &mut Random) -> Vec<u8> {
    let padding = BLOCK_BYTES - text.len() % BLOCK_BYTES;
    text.resize(text.len() + padding, padding as u8);
    if !is_right {
        *text.last_mut().expect("it is padded") = (17 + random.below(200)) as u8;
    }
    text
}

/// Asserts that `check` refuses messages of all kinds, which `make` makes, in the same time.
fn assert_same_times<M>(
    name: &str,
    kinds: &[&str],
    make: impl Fn(usize, &mut Random) -> M,
    check: impl Fn(&M) -> bool,
) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(TRIES); kinds.len()];
    while times.iter().any(|of_kind| of_kind.len() < TRIES) {
        let batch: Vec<(usize, M)> = (0..1000)
            .map(|_| {
                let kind = random.below(kinds.len());
                (kind, make(kind, &mut random))
            })
            .collect();
        for (kind, message) in &batch {
            let begun = Instant::now();
            let is_valid = black_box(check(black_box(message)));
            let nanoseconds = begun.elapsed().as_nanos() as f64;
            assert!(!is_valid, "{name}: {} is accepted", kinds[*kind]);
            times[*kind].push(nanoseconds);
        }
    }
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let longest = all[((1.0 - OUTLIERS) * all.len() as f64) as usize];
    let moments: Vec<(f64, f64, f64)> = times
        .iter()
        .map(|of_kind| {
            let kept: Vec<f64> = of_kind.iter().copied().filter(|time| *time <= longest).collect();
            let count = kept.len() as f64;
            let mean = kept.iter().sum::<f64>() / count;
            let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
            (mean, variance, count)
        })
        .collect();
    for one in 0..kinds.len() {
        for other in 0..one {
            let ((mean, variance, count), (other_mean, other_variance, other_count)) =
                (moments[one], moments[other]);
            let t = (mean - other_mean) / (variance / count + other_variance / other_count).sqrt();
            println!("{name}: {} {mean:.1} ns, {} {other_mean:.1} ns: t = {t:.2}", kinds[one], kinds[other]);
            assert!(t.abs() < T_MAX, "{name}: the times of {} and {} differ", kinds[one], kinds[other]);
        }
    }
}

#[test]
#[ignore = "measures times, alone on a machine: make soak"]
fn a_refused_message_does_not_tell_by_its_time_what_is_wrong() {
    let keys = MessageKeys::from_bytes(&Random(7).bytes());
    for (name, is_third) in [("clear length", false), ("encrypted length", true)] {
        assert_same_times(
            name,
            &["padding", "JSON"],
            |kind, random| {
                let text = wrong_json(random);
                let mut body = encrypt(&keys, pad(text, kind != 0, random));
                body.extend_from_slice(&random.bytes::<BLOCK_BYTES>());
                body
            },
            |body: &Vec<u8>| is_valid(&keys, body, is_third),
        );
    }
    assert_same_times(
        "the length",
        &["padding", "number", "range"],
        |kind, random| {
            let mut text = format!("{:04}", random.below(500) * 16 + 1).into_bytes();
            if kind == 1 {
                text[random.below(4)] = b'x';
            }
            let block = encrypt(&keys, pad(text, kind != 0, random));
            <[u8; BLOCK_BYTES]>::try_from(&block[..]).expect("it is a block")
        },
        |block: &[u8; BLOCK_BYTES]| is_valid_length(&keys, block),
    );
}
