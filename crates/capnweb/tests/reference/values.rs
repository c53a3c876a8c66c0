//! Random values of every kind that can be echoed, as wire expressions.

use serde_json::{Map, Value, json};

use crate::dice::Dice;

const TEXTS: [&str; 10] = [
    "",
    "a",
    "text",
    "\u{0}\n\"\\",
    "é€😀",
    "\u{2028}",
    "import",
    "__proto__ in a text",
    "0",
    "a longer text, with blanks",
];
const URLS: [&str; 3] = ["https://example.com/", "http://127.0.0.1:8080/a%20b?c=d#e", "data:text/plain,hi"];
const KEYS: [&str; 9] = ["a", "b", "", "0", "17", "key with blanks", "é", "then", "length"];
const CLASSES: [&str; 7] =
    ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"];
/// What bytes may be called.
const BYTES: [&str; 11] = [
    "ArrayBuffer",
    "DataView",
    "Int8Array",
    "Uint8ClampedArray",
    "Int16Array",
    "Uint16Array",
    "Int32Array",
    "Uint32Array",
    "BigInt64Array",
    "Float32Array",
    "Float64Array",
];

/// A value of any kind that no session has to do with: no capability, no promise.
pub(crate) fn plain(dice: &mut Dice, depth: usize) -> Value {
    if depth > 0 && dice.chance(45) {
        return match dice.under(3) {
            0 => {
                let items: Vec<Value> = (0..dice.under(4)).map(|_| plain(dice, depth - 1)).collect();
                json!([items])
            }
            1 => {
                let mut object = Map::new();
                for _ in 0..dice.under(4) {
                    object.insert((*dice.one_of(&KEYS)).to_owned(), plain(dice, depth - 1));
                }
                Value::Object(object)
            }
            _ => error(dice, depth - 1),
        };
    }
    match dice.under(15) {
        0 => Value::Null,
        1 => json!(dice.chance(50)),
        2 | 3 => number(dice),
        4 | 5 => json!(dice.one_of(&TEXTS)),
        6 => json!(["undefined"]),
        7 => json!([dice.one_of(&["inf", "-inf", "nan"])]),
        8 => json!(["bigint", bigint(dice)]),
        9 => date(dice),
        10 => json!(["url", dice.one_of(&URLS)]),
        11 => json!(["headers", *dice.one_of(&[&[][..], &[["a", "1"]], &[["a", "1, 2"], ["x-b", ""]]])]),
        _ => bytes(dice),
    }
}

/// A finite number.
pub(crate) fn number(dice: &mut Dice) -> Value {
    match dice.under(6) {
        0 => json!(0),
        1 => json!(dice.under(1000)),
        2 => json!(-i64::try_from(dice.under(1000)).expect("small")),
        3 => json!(0.1 * dice.under(1000) as f64),
        4 => json!(9_007_199_254_740_991_u64),
        _ => json!(dice.under(100_000) as f64 / 7.0),
    }
}

fn bigint(dice: &mut Dice) -> String {
    let digits: String = (0..1 + dice.under(40)).map(|_| char::from(b'1' + dice.under(9) as u8)).collect();
    if dice.chance(30) { format!("-{digits}") } else { digits }
}

fn date(dice: &mut Dice) -> Value {
    match dice.under(4) {
        0 => json!(["date", null]),
        1 => json!(["date", -86_400_000]),
        _ => json!(["date", 1_755_648_000_000_u64 + dice.next() % 1_000_000]),
    }
}

fn bytes(dice: &mut Dice) -> Value {
    if dice.chance(40) {
        return json!(["bytes", base64(&dice_bytes(dice, 9))]);
    }
    // Elements of eight bytes, so that every type fits.
    let elements = 8 * dice.under(4);
    let bytes: Vec<u8> = (0..elements).map(|_| dice.next() as u8).collect();
    json!(["bytes", base64(&bytes), dice.one_of(&BYTES)])
}

fn dice_bytes(dice: &mut Dice, bound: usize) -> Vec<u8> {
    (0..dice.under(bound)).map(|_| dice.next() as u8).collect()
}

fn error(dice: &mut Dice, depth: usize) -> Value {
    let class = *dice.one_of(&CLASSES);
    let message = *dice.one_of(&TEXTS);
    if dice.chance(50) {
        return json!(["error", class, message]);
    }
    json!(["error", class, message, null, { "code": plain(dice, depth), "more": number(dice) }])
}

/// Base64 of the standard alphabet without padding, as everybody sends it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize]));
        }
    }
    text
}
