//! MD5 (RFC 1321) and SHA-256 (FIPS 180-4).
//!
//! They are for checksums, as PostgreSQL's users know them; MD5 protects nothing.

use super::arguments::{bytes, text};
use crate::error::SqlError;
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::text as form;
use crate::scalar::types::Type::{Bytea, Text};
use crate::scalar::value::Value;

/// Whole blocks of 64 bytes: the message, a one bit, zeros, and its length in bits.
fn padded(message: &[u8], length: [u8; 8]) -> Vec<u8> {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&length);
    padded
}

fn bits(message: &[u8]) -> u64 {
    u64::try_from(message.len()).unwrap_or(u64::MAX).wrapping_mul(8)
}

/// The words of a block.
fn words(block: &[u8], word: fn([u8; 4]) -> u32) -> [u32; 16] {
    let mut words = [0; 16];
    for (target, four) in words.iter_mut().zip(block.chunks_exact(4)) {
        *target = word([four[0], four[1], four[2], four[3]]);
    }
    words
}

const MD5_SHIFTS: [[u32; 4]; 4] =
    [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The integer part of 2^32 times the sine of each step.
fn md5_constants() -> [u32; 64] {
    let mut constants = [0; 64];
    let mut step = 0.0_f64;
    for constant in &mut constants {
        step += 1.0;
        #[expect(clippy::cast_possible_truncation, reason = "it is from 0 to below 2^32")]
        #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
        let scaled = (step.sin().abs() * 4_294_967_296.0) as u32;
        *constant = scaled;
    }
    constants
}

fn md5(message: &[u8]) -> [u8; 16] {
    let constants = md5_constants();
    let mut state = [0x6745_2301_u32, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
    for block in padded(message, bits(message).to_le_bytes()).chunks_exact(64) {
        let words = words(block, u32::from_le_bytes);
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, word) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(constants[step]).wrapping_add(words[word]);
            let turned = b.wrapping_add(sum.rotate_left(MD5_SHIFTS[step / 16][step % 4]));
            (a, d, c, b) = (d, c, b, turned);
        }
        for (target, value) in state.iter_mut().zip([a, b, c, d]) {
            *target = target.wrapping_add(value);
        }
    }
    let mut digest = [0; 16];
    for (target, word) in digest.chunks_exact_mut(4).zip(state) {
        target.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// The fractions of the cube roots of the first 64 primes.
const SHA256_CONSTANTS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

fn sha256(message: &[u8]) -> Vec<u8> {
    let mut state: [u32; 8] = [
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
        0x5be0cd19,
    ];
    for block in padded(message, bits(message).to_be_bytes()).chunks_exact(64) {
        let mut schedule = [0_u32; 64];
        schedule[..16].copy_from_slice(&words(block, u32::from_be_bytes));
        for step in 16..64 {
            let (x, y) = (schedule[step - 15], schedule[step - 2]);
            let small = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let large = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            let sum = schedule[step - 16].wrapping_add(small).wrapping_add(schedule[step - 7]);
            schedule[step] = sum.wrapping_add(large);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (constant, word) in SHA256_CONSTANTS.iter().zip(schedule) {
            let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let first = h.wrapping_add(sum1).wrapping_add(choice);
            let first = first.wrapping_add(*constant).wrapping_add(word);
            let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(sum0).wrapping_add(majority));
        }
        for (target, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *target = target.wrapping_add(value);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn md5_of_text(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Text(form::hex(&md5(text(arguments, 0)?.as_bytes()))))
}

fn md5_of_bytes(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Text(form::hex(&md5(bytes(arguments, 0)?))))
}

fn sha256_of_bytes(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bytes(sha256(bytes(arguments, 0)?)))
}

pub(super) static FUNCTIONS: [Function; 3] = [
    Function::new("md5", &[Text], Text, md5_of_text),
    Function::new("md5", &[Bytea], Text, md5_of_bytes),
    Function::new("sha256", &[Bytea], Bytea, sha256_of_bytes),
];
