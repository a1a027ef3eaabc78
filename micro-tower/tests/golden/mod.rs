//! What go-micro's own clients and servers said to each other, as it was recorded.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

/// One exchange: all bytes of each side, and what the client made of it.
#[derive(Debug)]
pub struct Exchange {
    pub name: String,
    pub sent: Vec<u8>,
    pub answered: Vec<u8>,
    pub result: String,
}

/// The exchanges of a recording.
pub fn exchanges(log: &str) -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            let name = name.to_owned();
            all.push(Exchange { name, sent: Vec::new(), answered: Vec::new(), result: String::new() });
            continue;
        }
        let last = all.last_mut().unwrap();
        if let Some(text) = line.strip_prefix("C>S \"") {
            last.sent.extend(unquote(text));
        } else if let Some(text) = line.strip_prefix("S>C \"") {
            last.answered.extend(unquote(text));
        } else if let Some(text) = line.strip_prefix("### client result: ") {
            last.result = text.to_owned();
        }
    }
    all
}

/// The bytes of a string that Go quoted.
fn unquote(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.strip_suffix('"').unwrap().chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let hex = |chars: &mut std::str::Chars<'_>, digits: usize| {
            u32::from_str_radix(&chars.take(digits).collect::<String>(), 16).unwrap()
        };
        match chars.next().unwrap() {
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'v' => bytes.push(11),
            'f' => bytes.push(12),
            'x' => bytes.push(u8::try_from(hex(&mut chars, 2)).unwrap()),
            'u' => bytes.extend(char::from_u32(hex(&mut chars, 4)).unwrap().to_string().bytes()),
            c @ ('"' | '\\') => bytes.push(c as u8),
            other => panic!("\\{other}"),
        }
    }
    bytes
}
