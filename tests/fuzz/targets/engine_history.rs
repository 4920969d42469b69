#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventcast_tests::fuzz::engine_history(bytes));
