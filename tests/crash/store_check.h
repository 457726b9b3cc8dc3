// What must be true of the coordinator's folder whenever it is dead.
#ifndef URSA_TESTS_CRASH_STORE_CHECK_H_
#define URSA_TESTS_CRASH_STORE_CHECK_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"

namespace ursa::crash {

struct StoreReport {
  int64_t num_audit_events = 0;
  int64_t num_blobs = 0;       // that something names
  int64_t num_bytes_read = 0;  // of those that were not read before
};

// Copies the store's files to `scratch` (which it empties) and looks at the copy, so that the next start finds the
// original as the death left it:
//   - State can be made of the records; every audit row follows the one before, up to the head;
//   - each event of `expected_audit` (AuditKey) is there as often as it says;
//   - each blob that a record or a manifest names is there, and its bytes have its hash. Those in `read_before` are
//     only looked up; what is read is added.
// INTERNAL: a finding; else the errors of reading.
absl::StatusOr<StoreReport> CheckStore(const std::string& data_folder, const std::string& scratch,
                                       const std::map<std::string, int>& expected_audit,
                                       std::set<std::string>* read_before);

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_STORE_CHECK_H_
