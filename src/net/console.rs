//! The web console: the files of `examples/browser`, carried in the program and served at `/console/`.
//!
//! A page that holds a key must run nothing but its own files and load nothing from elsewhere, whatever an agent
//! says. So its policy names this server alone, allows no inline script or style, and forbids the functions that
//! make markup or code from text.

use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::http::is_known;
use super::problem::Answer;
use super::routes::etag;

/// What the console answers with at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Console {
    /// `/console`, which is not where the page's own addresses begin.
    Elsewhere,
    /// One of [`FILES`].
    File(usize),
}

impl Console {
    /// What is at this path of the server, if anything of the console.
    pub(super) fn at(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/console")?;
        match name.strip_prefix('/') {
            None => name.is_empty().then_some(Self::Elsewhere),
            Some("") => Some(Self::File(0)),
            Some(name) => FILES.iter().position(|file| file.name == name).map(Self::File),
        }
    }

    /// The answer to a `GET` or `HEAD` with these fields.
    pub(super) fn answer(self, asked: &HeaderMap) -> Answer {
        let mut answer = match self {
            Self::Elsewhere => elsewhere(),
            Self::File(at) => file(at, asked),
        };
        for (name, value) in FIELDS {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

fn elsewhere() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // Relative, so that it is right behind a proxy that puts a path in front.
    answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("console/"));
    answer
}

fn file(at: usize, asked: &HeaderMap) -> Answer {
    let (file, etag) = (&FILES[at], &ETAGS[at]);
    let mut answer = Response::new(Full::default());
    if asked.get(header::IF_NONE_MATCH).is_some_and(|tags| is_known(tags, etag)) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *answer.body_mut() = Full::new(Bytes::from_static(file.bytes));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    }
    let etag = HeaderValue::try_from(etag).expect("hex has only ASCII");
    answer.headers_mut().insert(header::ETAG, etag);
    answer
}

struct File {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $content_type:literal,)+) => {
        [$(File {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../examples/browser/", $name)),
        }),+]
    };
}

/// The page itself comes first; it is at `/console/`, and under its name too.
static FILES: [File; 10] = files! {
    "index.html": "text/html; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "card.js": "text/javascript; charset=utf-8",
    "guest.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "share.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "a2a-webcap.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

static ETAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(|file| etag(file.bytes)).collect());

/// What comes with every answer of the console. Browsers ask each time whether a file is still the same (it is
/// with another program only), so that a new server never meets an old page.
const FIELDS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Only this server's own files, and no text that becomes markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
