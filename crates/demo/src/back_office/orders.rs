//! The sample orders and figures.
//!
//! Owns made-up data that is the same at every start, and looking through it. Called by the handlers and the
//! templates.

use serde_json::{Value, json};

/// Every status that an order can have.
pub(super) const STATUSES: [&str; 5] = ["new", "packed", "shipped", "held", "cancelled"];

const ORDER_COUNT: usize = 24;
const CUSTOMERS: [&str; 7] = [
    "Harbour Street Books",
    "Nine Elms Nursery",
    "Okafor & Daughters",
    "Café Meridian",
    "Tiller Boatworks",
    "Studio Vang",
    "Sundby Ceramics",
];
/// Goods, with the price of one in cents.
const GOODS: [(&str, u32); 5] = [
    ("Packing paper, 50 m", 1_890),
    ("Shipping box, medium", 145),
    ("Label printer", 21_400),
    ("Twine, 200 m", 760),
    ("Pallet wrap", 2_350),
];
const PROGRESS: [&str; 8] = ["new", "new", "packed", "held", "packed", "shipped", "shipped", "cancelled"];

/// A quarter-by-quarter line of the finance report, in thousands of dollars.
pub(super) struct Revenue {
    pub region: &'static str,
    pub quarters: [u32; 4],
}

/// The finance report.
pub(super) const REVENUE: [Revenue; 4] = [
    Revenue { region: "North", quarters: [412, 438, 455, 510] },
    Revenue { region: "East", quarters: [298, 305, 287, 341] },
    Revenue { region: "South", quarters: [187, 203, 224, 239] },
    Revenue { region: "West", quarters: [356, 349, 372, 401] },
];

/// One order.
pub(super) struct Order {
    pub number: String,
    pub date: String,
    pub customer: &'static str,
    pub goods: &'static str,
    pub quantity: u32,
    pub status: &'static str,
    total_cents: u32,
}

/// Returns the sample orders, the latest first.
pub(super) fn sample() -> Vec<Order> {
    let customers = CUSTOMERS.into_iter().cycle();
    let goods = GOODS.into_iter().cycle();
    let progress = PROGRESS.into_iter().cycle();
    let sequence = (1_u32..).zip(customers).zip(goods).zip(progress).take(ORDER_COUNT);
    sequence
        .map(|(((index, customer), (goods, price)), status)| {
            let quantity = 2 + index * 7 % 23;
            Order {
                number: format!("LS-{}", 2048 - index),
                date: format!("2026-03-{:02}", 29 - index),
                customer,
                goods,
                quantity,
                status,
                total_cents: quantity * price,
            }
        })
        .collect()
}

/// Returns the orders with this status; with an empty one, all.
pub(super) fn with_status<'a>(orders: &'a [Order], status: &'a str) -> impl Iterator<Item = &'a Order> {
    orders.iter().filter(move |order| status.is_empty() || order.status == status)
}

/// Counts the orders of each status.
pub(super) fn counts(orders: &[Order]) -> Vec<(&'static str, usize)> {
    STATUSES.map(|status| (status, with_status(orders, status).count())).to_vec()
}

impl Order {
    /// Returns the total as text, `$1,234.50`.
    pub(super) fn total(&self) -> String {
        let (dollars, cents) = (self.total_cents / 100, self.total_cents % 100);
        match (dollars / 1000, dollars % 1000) {
            (0, rest) => format!("${rest}.{cents:02}"),
            (thousands, rest) => format!("${thousands},{rest:03}.{cents:02}"),
        }
    }

    /// Returns the order in the API.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "number": self.number, "date": self.date, "customer": self.customer, "goods": self.goods,
            "quantity": self.quantity, "status": self.status, "total": self.total(),
        })
    }
}

impl Revenue {
    /// Returns the year's sum.
    pub(super) fn year(&self) -> u32 {
        self.quarters.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_every_status_and_readable_totals() {
        let orders = sample();
        assert_eq!(counts(&orders).iter().map(|(_, count)| count).sum::<usize>(), ORDER_COUNT);
        assert!(counts(&orders).iter().all(|(_, count)| *count > 0));
        let with_total = |total_cents| Order { total_cents, ..sample().remove(0) }.total();
        assert_eq!([with_total(205), with_total(1_200_650)], ["$2.05", "$12,006.50"]);
    }
}
