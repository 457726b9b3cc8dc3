#include "worker/agent/join.h"

#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr size_t kCredentialBytes = 32;
constexpr int kOwnersAlone = 0600;

// The one that was drawn before, else a new one, which is on disk when this returns.
absl::StatusOr<std::string> DrawCredential(const std::string& path) {
  absl::StatusOr<std::string> kept = ReadFile(path);
  if (kept.ok()) return std::string(absl::StripAsciiWhitespace(*kept));
  if (!absl::IsNotFound(kept.status())) return kept.status();
  const std::string credential = RandomHex(kCredentialBytes);
  URSA_RETURN_IF_ERROR(WriteFileAtomically(path, credential + "\n", kOwnersAlone));
  return credential;
}

}  // namespace

absl::StatusOr<int64_t> CountStart(const JoinFiles& files) {
  const absl::StatusOr<std::string> kept = ReadFile(files.starts);
  int64_t starts = 0;
  if (kept.ok() ? !absl::SimpleAtoi(*kept, &starts) || starts < 0 : !absl::IsNotFound(kept.status())) {
    return kept.ok() ? absl::DataLossError(absl::StrCat(files.starts, ": \"", *kept, "\" is not a number of starts"))
                     : kept.status();
  }
  URSA_RETURN_IF_ERROR(WriteFileAtomically(files.starts, absl::StrCat(++starts, "\n")));
  return starts;
}

bool HasJoined(const JoinFiles& files) { return ::access(files.credential.c_str(), F_OK) == 0; }

absl::Status JoinCluster(const JoinFiles& files, const JoinCalls& calls, Backoff* backoff) {
  if (HasJoined(files)) return absl::OkStatus();
  URSA_ASSIGN_OR_RETURN(const std::string credential, DrawCredential(files.new_credential));
  std::string last_reason;  // not each of many tries that fail alike
  while (true) {
    const absl::StatusOr<std::string> worker_id = calls.join(Sha256Hex(credential));
    if (worker_id.ok()) {
      URSA_RETURN_IF_ERROR(WriteFileAtomically(files.worker_id, *worker_id + "\n"));
      // Written anew and not renamed, so that it is durable when the token is thrown away.
      URSA_RETURN_IF_ERROR(WriteFileAtomically(files.credential, credential + "\n", kOwnersAlone));
      ::unlink(files.new_credential.c_str());
      URSA_LOG(INFO) << "worker " << *worker_id << " JOINED";
      return absl::OkStatus();
    }
    if (!absl::IsUnavailable(worker_id.status())) return worker_id.status();
    const std::string reason = worker_id.status().ToString();
    if (reason != last_reason) URSA_LOG(WARNING) << "coordinator AWAY reason=\"" << reason << '"';
    last_reason = reason;
    if (!calls.wait(backoff->Next())) return absl::CancelledError("worker: joining was interrupted");
  }
}

}  // namespace ursa
