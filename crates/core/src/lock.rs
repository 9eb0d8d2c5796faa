//! A mutex that outlives a panic of whoever held it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. One that a panic has poisoned is taken as it is: for values of which every intermediate state is a valid
/// one, because a defect in one request must not end all further ones.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_one_holder_is_no_end_for_the_next() {
        let mutex = Mutex::new(1);
        let held = std::panic::catch_unwind(|| {
            let _held = lock(&mutex);
            panic!("a defect");
        });
        assert!(held.is_err() && mutex.is_poisoned());
        *lock(&mutex) += 1;
        assert_eq!(*lock(&mutex), 2);
    }
}
