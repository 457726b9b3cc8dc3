// The RPCs of ClusterService about workers.
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/admission.h"
#include "coordinator/core/paging.h"
#include "coordinator/core/worker_slots.h"
#include "coordinator/core/workers.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

constexpr int kListPageSizeMax = 1000;

std::string Name(int64_t worker_id) { return WorkerId(worker_id).ToString(); }

}  // namespace

v1::Worker Workers::ToProto(const Tx& tx, const records::WorkerRecord& record) const {
  v1::Worker worker;
  worker.set_name(IdName("workers", 'w', record.id()));
  worker.set_id(Name(record.id()));
  worker.set_state(record.lost()                 ? v1::Worker::STATE_LOST
                   : record.drained()            ? v1::Worker::STATE_DRAINED
                   : !record.set_aside().empty() ? v1::Worker::STATE_SET_ASIDE
                                                 : v1::Worker::STATE_ALIVE);
  worker.set_reason(record.set_aside().empty() ? WithheldText(record) : record.set_aside());
  worker.set_host(record.host());
  worker.set_display_name(record.name().empty() ? record.host() : record.name());
  *worker.mutable_labels() = record.labels();
  *worker.mutable_slot_states() = record.slot_states();
  worker.set_joined(record.joined());
  worker.set_slots(record.slots());
  const auto& taken = tx.state().LoadOf(record.id()).slots;
  int32_t num_free = 0;
  for (int32_t slot = 0; slot < record.slots(); ++slot) num_free += IsOffered(record, slot) && !taken.count(slot);
  worker.set_free(num_free);
  worker.set_kind(record.kind());
  worker.set_pool(record.pool().empty() ? kDefaultPool : record.pool());
  const auto lease = leases_.find(record.id());
  *worker.mutable_last_seen_time() =
      lease == leases_.end() ? record.last_seen_time() : ToTimestamp(lease->second.last_heard);
  return worker;
}

absl::StatusOr<v1::ListWorkersResponse> Workers::List(const Tx& tx, const v1::ListWorkersRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kListPageSizeMax, kListPageSizeMax));
  URSA_ASSIGN_OR_RETURN(const int64_t after, NumberToken(request.page_token()));
  v1::ListWorkersResponse response;
  int64_t num_bytes = 0;
  const auto& workers = tx.state().All<records::WorkerRecord>();
  for (auto it = workers.upper_bound(after); it != workers.end(); ++it) {
    const v1::Worker worker = ToProto(tx, it->second);
    num_bytes += static_cast<int64_t>(worker.ByteSizeLong());
    const bool is_full = response.workers_size() > 0 && num_bytes > env_.options.page_bytes_max;
    if (response.workers_size() == page_size || is_full) {
      response.set_next_page_token(std::to_string(std::prev(it)->first));
      break;
    }
    *response.add_workers() = worker;
  }
  return response;
}

absl::StatusOr<records::WorkerRecord> Workers::FindByName(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("workers", 'w', name));
  const auto* record = tx.state().Find<records::WorkerRecord>(id);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("worker ", Name(id), ": not found"));
  return *record;
}

absl::StatusOr<v1::Worker> Workers::Drain(Tx& tx, const Caller& caller, const v1::DrainWorkerRequest& request) {
  URSA_ASSIGN_OR_RETURN(records::WorkerRecord record, FindByName(tx, request.name()));
  record.set_drained(true);
  const int64_t id = record.id();
  tx.Apply(std::move(Mutation()
                         .Put(std::move(record))
                         .Audit(AuditEvent(env_, caller, "worker.drain", IdName("workers", 'w', id), ""))));
  return ToProto(tx, *tx.state().Find<records::WorkerRecord>(id));
}

absl::StatusOr<v1::Worker> Workers::Resume(Tx& tx, const Caller& caller, const v1::ResumeWorkerRequest& request) {
  URSA_ASSIGN_OR_RETURN(records::WorkerRecord record, FindByName(tx, request.name()));
  const int64_t id = record.id();
  if (!record.drained() && record.set_aside().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker ", Name(id), ": cannot resume, it is neither drained nor set aside"));
  }
  record.set_drained(false);
  record.clear_set_aside();
  record.clear_strikes();
  tx.Apply(std::move(Mutation()
                         .Put(std::move(record))
                         .Audit(AuditEvent(env_, caller, "worker.resume", IdName("workers", 'w', id), ""))));
  return ToProto(tx, *tx.state().Find<records::WorkerRecord>(id));
}

absl::StatusOr<v1::Worker> Workers::Remove(Tx& tx, const Caller& caller, const v1::RemoveWorkerRequest& request) {
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("workers", 'w', request.name()));
  const auto* record = tx.state().Find<records::WorkerRecord>(id);
  const auto* token = tx.state().Find<records::TokenRecord>(CredentialName(id));
  if (record == nullptr && token == nullptr) {
    return absl::NotFoundError(absl::StrCat("worker ", Name(id), ": not found"));
  }
  if (token == nullptr && IsConnected(id)) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker ", Name(id),
                     ": cannot be removed while it runs, it has no credential of its own that could "
                     "be revoked (hint: stop ursa-worker there first)"));
  }
  v1::Worker removed;
  if (record != nullptr) {
    removed = ToProto(tx, *record);
  } else {
    removed.set_name(IdName("workers", 'w', id));  // it has joined and was never seen
    removed.set_id(Name(id));
  }
  removed.set_state(v1::Worker::STATE_LOST);
  removed.clear_free();
  Mutation mutation;
  if (token != nullptr) mutation.Delete<records::TokenRecord>(CredentialName(id));
  if (record != nullptr) {
    on_gone_(tx, id, absl::StrCat("worker ", Name(id), " was removed"));
    OnLeft(tx, id);
    mutation.Delete<records::WorkerRecord>(id);
    if (const auto session = leases_[id].session; session != nullptr) {
      sessions_.erase(session.get());
      tx.AfterDurable([session, id] {
        session->Close(absl::PermissionDeniedError(absl::StrCat("worker ", Name(id), ": was removed")));
      });
    }
    leases_.erase(id);
  }
  URSA_LOG(WARNING) << "worker=" << Name(id) << " ->REMOVED by " << caller.actor;
  mutation.Audit(AuditEvent(env_, caller, "worker.remove", removed.name(), ""));
  tx.Apply(std::move(mutation));
  tx.RequestSettle();
  return removed;
}

}  // namespace ursa
