// ursa experiment preview-search.
#ifndef URSA_CLIENT_CLI_PREVIEW_SEARCH_H_
#define URSA_CLIENT_CLI_PREVIEW_SEARCH_H_

#include "client/cli/command.h"

namespace ursa::cli {

// Reads a recipe, applies --set, and prints what its search will do. Asks no server.
Command PreviewSearchCommand();

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_PREVIEW_SEARCH_H_
