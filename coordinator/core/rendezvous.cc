#include "coordinator/core/rendezvous.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "base/planted_bug.h"
#include "base/status_macros.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

using Request = worker::v1::StoreRequest;

constexpr size_t kKeyBytesMax = 1024;

bool HasAll(const std::map<std::string, std::string>& values, const std::vector<std::string>& keys) {
  return std::all_of(keys.begin(), keys.end(), [&values](const std::string& key) { return values.count(key) > 0; });
}

worker::v1::StoreResponse Found(const std::map<std::string, std::string>& values, const std::vector<std::string>& keys,
                                bool wants_value) {
  worker::v1::StoreResponse response;
  response.set_found(true);
  if (wants_value) response.set_value(values.at(keys[0]));
  return response;
}

}  // namespace

absl::Status Rendezvous::Set(const std::string& key, std::string value, Store* store) const {
  if (static_cast<int64_t>(value.size()) > env_.options.rendezvous_value_bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat("rendezvous: a value has ", value.size(), " bytes, at most ",
                                                     env_.options.rendezvous_value_bytes_max, " are allowed"));
  }
  if (!store->values.count(key) && static_cast<int64_t>(store->values.size()) >= env_.options.rendezvous_keys_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("rendezvous: has ", store->values.size(), " keys, at most that many are allowed"));
  }
  store->values[key] = std::move(value);
  return absl::OkStatus();
}

absl::StatusOr<worker::v1::StoreResponse> Rendezvous::RunNow(const Request& request, Store* store) const {
  worker::v1::StoreResponse response;
  if (request.operation() == Request::OPERATION_COUNT) {
    response.set_number(static_cast<int64_t>(store->values.size()));
    return response;
  }
  if (request.operation() == Request::OPERATION_CHECK) {
    response.set_found(HasAll(store->values, {request.keys().begin(), request.keys().end()}));
    return response;
  }
  const std::string& key = request.keys(0);
  const auto it = store->values.find(key);
  const bool is_there = it != store->values.end();
  switch (request.operation()) {
    case Request::OPERATION_SET:
      URSA_RETURN_IF_ERROR(Set(key, request.value(), store));
      return response;
    case Request::OPERATION_ADD: {
      int64_t number = 0;
      if (is_there) {
        const std::string& text = it->second;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc() || end != text.data() + text.size()) {
          return absl::InvalidArgumentError(absl::StrCat("rendezvous: key \"", key, "\" holds no number to add to"));
        }
      }
      if (__builtin_add_overflow(number, request.amount(), &number)) {
        return absl::InvalidArgumentError(absl::StrCat("rendezvous: the sum under \"", key, "\" overflows"));
      }
      URSA_RETURN_IF_ERROR(Set(key, std::to_string(number), store));
      response.set_number(number);
      return response;
    }
    case Request::OPERATION_DELETE:
      response.set_found(is_there);
      if (is_there) store->values.erase(it);
      return response;
    case Request::OPERATION_COMPARE_SET:
      if (is_there ? it->second == request.expected() : request.expected().empty()) {
        URSA_RETURN_IF_ERROR(Set(key, request.value(), store));
        response.set_found(true);
        response.set_value(request.value());
      } else {
        // As c10d: what stands there, or what was expected if nothing does.
        response.set_found(is_there);
        response.set_value(is_there ? it->second : request.expected());
      }
      return response;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("rendezvous: operation ", static_cast<int>(request.operation()), " is not known"));
  }
}

void Rendezvous::Run(Tx& tx, const TrialId& trial, int64_t epoch, CallName call, const Request& request,
                     Answer answer) {
  const auto found = stores_.find({trial, epoch});
  if (found == stores_.end()) {
    return answer(
        tx, absl::AbortedError(absl::StrCat("rendezvous: epoch ", epoch, " of task ", TaskName(trial), " is stale")));
  }
  Store& store = found->second;
  const bool needs_key = request.operation() != Request::OPERATION_COUNT;
  const bool has_long_key = std::any_of(request.keys().begin(), request.keys().end(),
                                        [](const std::string& key) { return key.size() > kKeyBytesMax; });
  if (has_long_key || (needs_key && request.keys().empty()) || request.keys_size() > env_.options.rendezvous_keys_max) {
    return answer(tx, absl::InvalidArgumentError(absl::StrCat("rendezvous: ", request.keys_size(), " keys, 1 to ",
                                                              env_.options.rendezvous_keys_max, " of at most ",
                                                              kKeyBytesMax, " bytes are allowed")));
  }
  if (request.operation() != Request::OPERATION_GET && request.operation() != Request::OPERATION_WAIT) {
    const auto given = store.answers.find(call);
    if (given != store.answers.end() && !URSA_PLANTED_BUG(count_twice)) return answer(tx, given->second);
    const absl::StatusOr<worker::v1::StoreResponse> response = RunNow(request, &store);
    const bool repeats_badly = request.operation() == Request::OPERATION_ADD ||
                               request.operation() == Request::OPERATION_COMPARE_SET ||
                               request.operation() == Request::OPERATION_DELETE;
    if (response.ok() && repeats_badly) store.answers.emplace(call, *response);
    answer(tx, response);
    if (response.ok()) Wake(tx, &store);
    return;
  }
  Waiter waiter;
  waiter.keys.assign(request.keys().begin(), request.keys().end());
  waiter.wants_value = request.operation() == Request::OPERATION_GET;
  if (HasAll(store.values, waiter.keys)) {
    return answer(tx, Found(store.values, waiter.keys, waiter.wants_value));
  }
  waiter.deadline = request.timeout_millis() > 0 ? env_.clock->Now() + absl::Milliseconds(request.timeout_millis())
                                                 : absl::InfiniteFuture();
  waiter.answer = std::move(answer);
  store.waiters.push_back(std::move(waiter));
}

void Rendezvous::Wake(Tx& tx, Store* store) {
  std::vector<Waiter> waiting;
  for (Waiter& waiter : store->waiters) {
    if (HasAll(store->values, waiter.keys)) {
      waiter.answer(tx, Found(store->values, waiter.keys, waiter.wants_value));
    } else {
      waiting.push_back(std::move(waiter));
    }
  }
  store->waiters = std::move(waiting);
}

void Rendezvous::DropUnless(Tx& tx, const std::set<TrialId>& trials,
                            const std::function<bool(const TrialId&, int64_t)>& is_current) {
  for (const TrialId& trial : trials) {
    for (auto it = stores_.lower_bound({trial, 0}); it != stores_.end() && it->first.first == trial;) {
      if (is_current(trial, it->first.second)) {
        ++it;
        continue;
      }
      for (const Waiter& waiter : it->second.waiters) {
        waiter.answer(tx, absl::AbortedError("rendezvous: its epoch has ended"));
      }
      it = stores_.erase(it);
    }
  }
}

void Rendezvous::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  for (auto& [key, store] : stores_) {
    std::vector<Waiter> waiting;
    for (Waiter& waiter : store.waiters) {
      if (waiter.deadline > now) {
        waiting.push_back(std::move(waiter));
        continue;
      }
      worker::v1::StoreResponse response;
      response.set_timed_out(true);
      waiter.answer(tx, response);
    }
    store.waiters = std::move(waiting);
  }
}

}  // namespace ursa
