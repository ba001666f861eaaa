//! Wiping secrets, and returning freed memory to the system.

/// Overwrites `bytes` with zeros; the compiler does not optimize this away.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: pointer and length come from an exclusively borrowed slice; zeros are valid bytes.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Returns freed memory to the system, where the C library supports it.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number only, and does not touch memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::wipe;

    #[test]
    fn wipe_zeroes_only_its_bytes() {
        let mut bytes = [7; 10];
        wipe(&mut bytes[2..9]);
        assert_eq!(bytes, [7, 7, 0, 0, 0, 0, 0, 0, 0, 7]);
        wipe(&mut []);
    }
}
