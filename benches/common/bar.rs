//! What a figure has to be.

/// Which side of a bar is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At least this much.
    Floor(f64),
    /// At most this much.
    Ceiling(f64),
    /// Nothing is asked.
    None,
}

impl Bar {
    /// What to print about a value, and whether it is good.
    pub(crate) fn judge(self, value: f64) -> (String, bool) {
        match self {
            Self::Floor(floor) if value >= floor => (format!("[floor {floor}] ok"), true),
            Self::Floor(floor) => (format!("[floor {floor}] BELOW"), false),
            Self::Ceiling(ceiling) if value <= ceiling => (format!("[ceiling {ceiling}] ok"), true),
            Self::Ceiling(ceiling) => (format!("[ceiling {ceiling}] ABOVE"), false),
            Self::None => (String::new(), true),
        }
    }
}
