// What a workload acts on, with what must be true of it whatever was killed: the oracle.
#ifndef URSA_TESTS_CRASH_SUBJECT_H_
#define URSA_TESTS_CRASH_SUBJECT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/rng.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/crash/api.h"

namespace ursa::crash {

// What was done with all subjects. Added up at the end.
struct Tally {
  int64_t num_acknowledged = 0;  // changes that were answered with OK
  int64_t num_unknown = 0;       // changes whose answer a death took
  int64_t num_found_done = 0;    // of the unknown ones: had happened
  int64_t num_found_undone = 0;  // had not
  int64_t num_repeated = 0;      // calls sent again with their request id

  void Add(const Tally& other);
};

// Sends a change, for the first time or again with the same request id. OK: acknowledged.
using Send = std::function<absl::Status(Api* api)>;

// A key of `Subject::AddAudit`: "experiment.cancel experiments/e17".
std::string AuditKey(const std::string& action, const std::string& resource);

// One object of the API, or a few that belong together, that only this subject changes. It writes down what it is about
// to do before it calls, and what came of it after: so at any time it knows what must be, or which two things may be.
//
//   idle --Step: intent--> calling --answer--> idle
//                             `--death--> unknown --Check: looks, and by chance calls again--> idle
//
// What it knows to be done is checked at each Check: it is there, exactly so, once. Used by one thread at a time.
class Subject {
 public:
  explicit Subject(std::string name) : name_(std::move(name)) {}
  virtual ~Subject() = default;

  // The next change. OK if it was acknowledged or properly refused; an unknown outcome (MayHaveHappened), after which
  // Check must come; INTERNAL: a finding.
  virtual absl::Status Step(Api* api, Rng* rng) = 0;

  // Compares with what the coordinator says. An unknown outcome is settled first, as whole or as nothing. An unknown
  // status: it died meanwhile, to be called again; INTERNAL: a finding, in words.
  virtual absl::Status Check(Api* api, Rng* rng) = 0;

  // Whether it has nothing more to do; it is checked all the same.
  virtual bool IsDone() const = 0;

  // Whether the outcome of a change is unknown, so that its audit events cannot be counted.
  virtual bool IsUncertain() const { return false; }
  // Adds how often each audit event (AuditKey) must be there.
  virtual void AddAudit(std::map<std::string, int>* expected) const {}

  const std::string& name() const { return name_; }
  const Tally& tally() const { return tally_; }

 protected:
  absl::Status Finding(const std::string& what) const { return absl::InternalError(name_ + ": " + what); }
  // Sends a change and counts what came of it; whether it was acknowledged. False if no worker is there now, after a
  // moment's wait: to be sent later. Errors: an unknown outcome; INTERNAL (refused: a finding).
  absl::StatusOr<bool> SendCounted(const Send& send, Api* api);

  Tally tally_;

 private:
  const std::string name_;
};

// A Subject that makes one change after the other, each of which is seen in what the coordinator shows of it.
class ChangingSubject : public Subject {
 public:
  using Subject::Subject;
  absl::Status Step(Api* api, Rng* rng) final;
  bool IsUncertain() const final { return pending_.has_value(); }

 protected:
  struct Change {
    std::string what;
    Send send;
    std::function<void()> happened;  // notes in the subject what it did
  };
  virtual Change Plan(Rng* rng) = 0;
  // The outcome of the pending change is found out: whether it has happened. By chance it is sent again all the same.
  absl::Status Settle(bool has_happened, Api* api, Rng* rng);

 private:
  void Happened();

  std::optional<Change> pending_;
};

// A Send of one call. `request` has a request_id, which is set; `on_answer` sees each answer. Gives INTERNAL if a
// repetition gets another answer than the first.
template <typename Stub, typename Request, typename Response>
Send MakeChange(Stub Api::*stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                Request request, const std::string& request_id, Tally* tally,
                std::function<void(const Response&)> on_answer) {
  struct Sent {
    bool any = false;
    int num_refused = 0;
    std::optional<Response> answer;
  };
  return [=, sent = std::make_shared<Sent>()](Api* api) mutable -> absl::Status {
    if (sent->any) ++tally->num_repeated;
    sent->any = true;
    // A refusal holds for its id for good.
    request.set_request_id(
        absl::StrCat(request_id, sent->num_refused == 0 ? "" : absl::StrCat("-", sent->num_refused)));
    absl::StatusOr<Response> response = api->Call(api->*stub, method, request);
    if (!response.ok() && !MayHaveHappened(response.status())) ++sent->num_refused;
    if (!response.ok()) return response.status();
    if (sent->answer.has_value() && !google::protobuf::util::MessageDifferencer::Equals(*sent->answer, *response)) {
      return absl::InternalError("request " + request_id + ": sent again, it got another answer than the first");
    }
    sent->answer = *response;
    on_answer(*response);
    return absl::OkStatus();
  };
}

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_SUBJECT_H_
