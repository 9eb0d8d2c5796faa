//! `[branding]`: the name of the service and the contact on its pages.

use super::reader::Reader;
use crate::web::branding::Branding;

pub(super) fn read(section: &mut Reader) -> Branding {
    let default = Branding::default();
    Branding {
        product_name: section.or("product_name", default.product_name),
        support_contact: section.optional("support_contact"),
    }
}
