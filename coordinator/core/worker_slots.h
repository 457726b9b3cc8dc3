// What a worker says of its slots, and what follows from it.
#ifndef URSA_COORDINATOR_CORE_WORKER_SLOTS_H_
#define URSA_COORDINATOR_CORE_WORKER_SLOTS_H_

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "coordinator/state/entities.h"
#include "ursa/v1/cluster.pb.h"

namespace ursa {

using SlotStates = google::protobuf::RepeatedPtrField<v1::WorkerSlot>;

inline constexpr size_t kHelloTextBytesMax = 256;  // of each text that a worker sends

// Whether they are of slots that there are, each once and in order, and not too long. INVALID_ARGUMENT.
absl::Status CheckSlotStates(const SlotStates& states, int32_t num_slots);
bool HasSameStates(const SlotStates& a, const SlotStates& b);

// Whether tasks may be given to the slot.
bool IsOffered(const records::WorkerRecord& worker, int32_t slot);

// "3 of 8 slots are not offered: slots 3, 4: ...; slot 5: ..."; empty if all are.
std::string WithheldText(const records::WorkerRecord& worker);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_WORKER_SLOTS_H_
