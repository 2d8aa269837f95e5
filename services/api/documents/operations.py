"""Every operation of the api, once: what the OpenAPI document and the docs page are made of."""

from services.api.documents.foreign import FOREIGN
from services.api.documents.lookups import LOOKUPS
from services.api.documents.operation import (
    AT_LEAST,
    CLOSED,
    CURRENCY,
    CUSTOMER,
    ENTRY,
    INVALID_BODY,
    INVALID_METADATA,
    INVALID_QUERY,
    KEY,
    MOMENT,
    NOT_FOUND,
    OLD,
    PAGE,
    PREFER,
    TEXT,
    WRITE,
    WRITE_HEADERS,
    Operation,
    Parameter,
)
from services.api.documents.requests import REQUESTS
from services.api.documents.webhooks import WEBHOOKS
from services.api.keys import Scope
from services.api.shapes.bulk import BulkOutcomes, CreateLedgerEntries
from services.api.shapes.customers import (
    BlockCustomer,
    BlockedCustomer,
    BlocklistPage,
    ChangeStatus,
    CreateCustomer,
    CreateLedgerEntry,
    Customer,
    CustomerPage,
    CustomerStatus,
    CustomerWallet,
    LedgerEntryPage,
    UpdateCustomer,
    WalletList,
)

OPERATIONS = (
    Operation(
        "post", "/customers", "createCustomer", "Create a customer",
        "With an Idempotency-Key the customer's id follows from the key: a repetition finds the same customer. "
        "Without one, each request makes a customer of its own.",
        "Customers", Scope.WRITE, CreateCustomer, Customer, (KEY, PREFER),
        (*INVALID_BODY, *INVALID_METADATA, *WRITE), WRITE_HEADERS,
    ),
    Operation(
        "get", "/customers", "listCustomers", "List customers", "Newest first.",
        "Customers", Scope.READ, None, CustomerPage,
        (
            *PAGE,
            Parameter("email", "query", "Exactly this address, whatever the case", TEXT),
            Parameter("name", "query", "Part of the name, whatever the case", TEXT),
            Parameter("created_at_gte", "query", "Created at or after", MOMENT),
            Parameter("created_at_lte", "query", "Created at or before", MOMENT),
            AT_LEAST,
        ),
        (*INVALID_QUERY, *OLD),
    ),
    Operation(
        "get", "/customers/{customer_id}", "retrieveCustomer", "Retrieve a customer", "",
        "Customers", Scope.READ, None, Customer, (CUSTOMER, AT_LEAST),
        (*NOT_FOUND, *OLD), ("Ledger-Position",),
    ),
    Operation(
        "patch", "/customers/{customer_id}", "updateCustomer", "Change a customer's profile",
        "Absent: unchanged. Null clears preferred_locale and phone_number, empties metadata, and leaves name and "
        "email as they are.",
        "Customers", Scope.WRITE, UpdateCustomer, Customer, (CUSTOMER, KEY, PREFER),
        (*NOT_FOUND, *CLOSED, *INVALID_BODY, *INVALID_METADATA, *WRITE), WRITE_HEADERS,
    ),
    Operation(
        "get", "/customers/{customer_id}/wallets", "listWallets", "List a customer's wallets",
        "Every open currency, at 0 where nothing happened.",
        "Wallets", Scope.READ, None, WalletList, (CUSTOMER, AT_LEAST),
        (*NOT_FOUND, *OLD), ("Ledger-Position", "Ledger-Usd-Rates"),
    ),
    Operation(
        "post", "/customers/{customer_id}/wallets/ledger-entries", "createLedgerEntry", "Credit or debit a wallet",
        "Answers with the wallet after the entry. A balance never goes below zero.",
        "Wallets", Scope.WRITE, CreateLedgerEntry, CustomerWallet, (CUSTOMER, KEY, PREFER),
        (
            (400, "INSUFFICIENT_WALLET_FUNDS"), (400, "BALANCE_LIMIT_EXCEEDED"), *NOT_FOUND, *INVALID_BODY,
            (422, "UNSUPPORTED_CURRENCY"), (409, "CUSTOMER_BLOCKED"), *CLOSED, *WRITE,
        ),
        WRITE_HEADERS,
    ),
    Operation(
        "get", "/customers/{customer_id}/wallets/ledger-entries", "listLedgerEntries", "List a customer's ledger",
        "Newest first.",
        "Wallets", Scope.READ, None, LedgerEntryPage,
        (CUSTOMER, *PAGE, Parameter("currency", "query", "Of this currency only", CURRENCY), AT_LEAST),
        (*NOT_FOUND, *INVALID_QUERY, *OLD), ("Ledger-Position",),
    ),
    Operation(
        "post", "/v1/ledger-entries/bulk", "createLedgerEntries", "Enter up to 1,000 credits and debits at once",
        "Each item has its own key and its own outcome, with the status it would have got alone; 200 says that the "
        "outcomes are in the items. Repeat the same request after 503, 504, or items with these or 500.",
        "Wallets", Scope.WRITE, CreateLedgerEntries, BulkOutcomes, (PREFER,),
        (*INVALID_BODY, (503, "DEADLINE_EXCEEDED"), (504, "OUTCOME_UNKNOWN")), WRITE_HEADERS[1:],
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/block", "blockCustomer", "Block a customer",
        "No debits by request until unblocked, only what upstream takes back; credits and changes of the profile go on. "
        "Who is blocked already stays so, since then and under the same entry; a reason given now replaces the one it had.",
        "Lifecycle", Scope.WRITE, ChangeStatus, CustomerStatus, (CUSTOMER, KEY, PREFER),
        (*NOT_FOUND, *CLOSED, *INVALID_BODY, *WRITE), WRITE_HEADERS, body_required=False,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/unblock", "unblockCustomer", "Unblock a customer",
        "A success as well where they were not blocked.",
        "Lifecycle", Scope.WRITE, ChangeStatus, CustomerStatus, (CUSTOMER, KEY, PREFER),
        (*NOT_FOUND, *CLOSED, *INVALID_BODY, *WRITE), WRITE_HEADERS, body_required=False,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/close", "closeCustomer", "Close a customer for good",
        "Refused while a wallet holds money. Afterwards every write is refused, reads go on. Cannot be undone.",
        "Lifecycle", Scope.WRITE, ChangeStatus, CustomerStatus, (CUSTOMER, KEY, PREFER),
        (*NOT_FOUND, *CLOSED, (409, "WALLET_NOT_EMPTY"), *INVALID_BODY, *WRITE), WRITE_HEADERS,
        body_required=False,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/erase", "eraseCustomer", "Erase a closed customer's personal data",
        "Destroys the key under which name, address, metadata and reasons are sealed in the events, and empties the read "
        "models. Ids, amounts, currencies and times stay. Cannot be undone.",
        "Lifecycle", Scope.ADMIN, None, CustomerStatus, (CUSTOMER, KEY, PREFER),
        (*NOT_FOUND, (409, "CUSTOMER_NOT_CLOSED"), (409, "CUSTOMER_ERASED"), (422, "INVALID_REQUEST_PARAMETERS"), *WRITE),
        WRITE_HEADERS,
    ),
    Operation(
        "post", "/blocklist/customers", "createBlocklistEntry", "Block a customer, by id or address",
        "Exactly one of customer_id and email, and with an Idempotency-Key customer_id: an address may change hands. An "
        "address must belong to one customer who is not closed, and is looked up in the read models: without "
        "Ledger-Position as they are, and the address may be another customer's by now. The block is of the customer, "
        "not of the address, and cancels no subscription.",
        "Lifecycle", Scope.WRITE, BlockCustomer, BlockedCustomer, (KEY, PREFER, AT_LEAST),
        (*NOT_FOUND, *CLOSED, *INVALID_BODY, *OLD, *WRITE), WRITE_HEADERS,
    ),
    Operation(
        "get", "/blocklist/customers", "listBlocklistEntries", "List who is blocked", "Newest first.",
        "Lifecycle", Scope.READ, None, BlocklistPage,
        (
            *PAGE,
            Parameter("identifier", "query", "Part of the address or of the customer id, whatever the case", TEXT),
            Parameter("blocked_by_email", "query", "Entries made from a dashboard: here there are none", TEXT),
            Parameter("created_at_gte", "query", "Blocked at or after", MOMENT),
            Parameter("created_at_lte", "query", "Blocked at or before", MOMENT),
            AT_LEAST,
        ),
        (*INVALID_QUERY, *OLD),
    ),
    Operation(
        "get", "/blocklist/customers/{entry_id}", "retrieveBlocklistEntry", "Retrieve an entry of the blocklist",
        "Also one that was ended.",
        "Lifecycle", Scope.READ, None, BlockedCustomer, (ENTRY, AT_LEAST),
        (*NOT_FOUND, *OLD), ("Ledger-Position",),
    ),
    Operation(
        "delete", "/blocklist/customers/{entry_id}", "deleteBlocklistEntry", "Unblock the customer of an entry",
        "Ends this block and no newer one; ending it again changes nothing. The entry must be visible to reads.",
        "Lifecycle", Scope.WRITE, None, None, (ENTRY, KEY, PREFER, AT_LEAST),
        (*NOT_FOUND, *CLOSED, *OLD, *WRITE), WRITE_HEADERS, status=204,
    ),
    *FOREIGN,
    *REQUESTS,
    *LOOKUPS,
    *WEBHOOKS,
    Operation(
        "get", "/livez", "livez", "Is the process alive?", "Needs no key and asks nobody.", "Operations", None
    ),
    Operation(
        "get", "/readyz", "readyz", "Can it do its work?",
        "503 names what is missing: kafka, ledger, views, projections, clock.", "Operations", None,
        errors=((503, "not ready"),),
    ),
    Operation("get", "/metrics", "metrics", "Prometheus metrics", "", "Operations", None),
)  # fmt: skip
