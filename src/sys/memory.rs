//! Memory that held a secret.

/// Overwrites `bytes` in a way that the compiler does not leave out.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: the pointer and the length are those of a slice that is borrowed for writing; zeros are
    // valid bytes.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Gives memory that is freed back to the system, as far as the C library can.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and changes nothing that is in use.
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
