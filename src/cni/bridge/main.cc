#include "cni/bridge/bridge.h"

int main() {
  using namespace knarr::cni;
  return runPlugin({"bridge", addBridge, removeBridge, checkBridge, statusBridge});
}
