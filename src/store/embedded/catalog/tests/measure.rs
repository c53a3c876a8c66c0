//! Figures, on demand: `cargo test --lib catalog::tests::measure -- --ignored --nocapture`, optimised.
