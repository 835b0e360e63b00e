//! Tokens that are taken for a request that goes later.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use self_cell::self_cell;
use tollgate::{LimitSet, set::SetReservation};

use crate::decision::seconds;
use crate::table::Table;

/// A table, and the limits of it that are asked together.
pub(crate) struct Limits {
    pub(crate) table: Arc<Table>,
    pub(crate) set: LimitSet,
}

type Held<'a> = Option<SetReservation<'a>>;

self_cell!(
    pub(crate) struct Cell {
        owner: Arc<Limits>,
        #[covariant]
        dependent: Held,
    }
);

/// Tokens that are taken for a request that goes later.
#[pyclass(frozen, module = "tollgate_limiter._engine")]
pub(crate) struct Reservation {
    wait: f64,
    table: Arc<Table>,
    cell: Mutex<Cell>,
}

impl Reservation {
    pub(crate) fn new(cell: Cell) -> Self {
        let wait = cell.borrow_dependent().as_ref().map_or(0.0, |held| seconds(held.wait()));
        Self { wait, table: Arc::clone(&cell.borrow_owner().table), cell: Mutex::new(cell) }
    }
}

#[pymethods]
impl Reservation {
    /// Seconds from when it was made until the request may go.
    #[getter]
    fn wait(&self) -> f64 {
        self.wait
    }

    /// Gives the tokens back: the request will not go. Once.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        // Before the lock is closed: a clock of Python can run anything.
        self.table.tick(py)?;
        let mut cell = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        cell.with_dependent_mut(|_, held| held.take().map(SetReservation::cancel));
        Ok(())
    }
}
