// The transform graph of a resolved recipe.
#ifndef URSA_WORKER_DATA_TRANSFORM_GRAPH_PROTO_H_
#define URSA_WORKER_DATA_TRANSFORM_GRAPH_PROTO_H_

#include "absl/status/statusor.h"
#include "ursa/v1/recipe.pb.h"
#include "worker/data/transform_graph.h"

namespace ursa {

// Unset optional fields take the defaults named in recipe.proto; an unset `normalize` takes ImageNet's (a resolved
// recipe has it set). INVALID_ARGUMENT naming the field for an unknown choice, a missing item transform or a value out
// of range.
absl::StatusOr<TransformGraph> TransformGraphFromProto(const v1::DataSpec& data);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_TRANSFORM_GRAPH_PROTO_H_
