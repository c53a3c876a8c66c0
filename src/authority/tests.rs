//! Tests of the grants as a whole.
