# pragma version 0.4.3
"""
@title  A token that keeps a part of every transfer, for tests of calls that must read what arrived
@notice Anybody may mint, and anybody may change the tax. The tax goes to the token itself and is told as a transfer.
@license Apache-2.0
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

name: public(String[32])
symbol: public(String[32])
decimals: public(uint8)
tax_bps: public(uint256)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(symbol: String[32], decimals: uint8, tax_bps: uint256):
    self.name = symbol
    self.symbol = symbol
    self.decimals = decimals
    self.tax_bps = tax_bps


@external
def set_tax(tax_bps: uint256):
    assert tax_bps <= 10_000
    self.tax_bps = tax_bps


@external
def mint(receiver: address, amount: uint256):
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    if self.allowance[sender][msg.sender] != max_value(uint256):
        self.allowance[sender][msg.sender] -= amount
    self._move(sender, receiver, amount)
    return True


@internal
def _move(sender: address, receiver: address, amount: uint256):
    tax: uint256 = amount * self.tax_bps // 10_000
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount - tax
    log Transfer(sender=sender, receiver=receiver, value=amount - tax)
    if tax > 0:
        self.balanceOf[self] += tax
        log Transfer(sender=sender, receiver=self, value=tax)
