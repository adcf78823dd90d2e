# pragma version 0.4.3
"""
@title  Creates pools of PancakeSwap V3 for its factory
@notice The package of PancakeSwap V3 holds factory and pool but not the deployer between them. This one was written for
        dexlane's tests from the published interface. The pool's creation code lies as code of another contract, behind
        one byte that stops its execution; SIZE is its length in package 1.0.2.
@license Apache-2.0
"""

struct Parameters:
    factory: address
    token0: address
    token1: address
    fee: uint24
    tickSpacing: int24

SIZE: constant(uint256) = 23_566
CODE: immutable(address)
parameters: public(Parameters)


@deploy
def __init__(code_holder: address):
    CODE = code_holder


@external
def deploy(factory: address, token0: address, token1: address, fee: uint24, tickSpacing: int24) -> address:
    self.parameters = Parameters(factory=factory, token0=token0, token1=token1, fee=fee, tickSpacing=tickSpacing)
    salt: bytes32 = keccak256(abi_encode(token0, token1, fee))
    code: Bytes[SIZE] = slice(CODE.code, 1, SIZE)
    return raw_create(code, salt=salt)
