//! Small safe wrappers over what the standard library lacks of the system. The only `unsafe` there is.

/// Overwrites `bytes` in a way that the compiler does not leave out.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}
